-- Make a population and its epochs, all at 1, if they do not exist yet. 9 rows at most; safe to repeat.
WITH made AS (
  INSERT INTO credentials_population (name, connector, version) VALUES (%(population)s, 'native', 0) ON CONFLICT (name) DO NOTHING RETURNING id
)
INSERT INTO credentials_epoch (population_id, cohort, class, epoch, highest, state)
SELECT made.id, 0, class, 1, 1, 'open' FROM made, unnest(%(classes)s::text[]) AS class
