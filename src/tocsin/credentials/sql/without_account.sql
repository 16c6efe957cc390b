-- The next subjects without an account in a population, in the order of their ids. Rows: up to `limit`. Index: primary key of subjects,
-- credentials_account_subject. No lock.
SELECT s.id FROM subjects_subject s
WHERE s.id > %(after)s AND s.salt IS NOT NULL
  AND NOT EXISTS (SELECT FROM credentials_account a WHERE a.population_id = %(population)s AND a.subject = s.id)
ORDER BY s.id LIMIT %(limit)s
