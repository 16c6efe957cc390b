-- The version of the epochs in this snapshot. 1 row; sums as many rows as there are populations.
SELECT coalesce(sum(version), 0) FROM credentials_population
