-- Make a population and its epochs, all at 1, if they do not exist yet (function of migration 0100). 9 rows at most; safe to repeat.
SELECT credentials_open_population(%(population)s, %(classes)s::text[])
