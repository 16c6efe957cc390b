-- Forget a batch of people: salts, names and contact points go, former ones too; the numbers of the register and the log stay as they are.
-- Rows: one batch; locks those rows. Nothing of this can be undone.
WITH gone AS (
  UPDATE subjects_subject SET salt = NULL, name_sealed = NULL, row_digest = NULL, last_active_date = NULL WHERE id = ANY(%(subjects)s::bigint[]) AND salt IS NOT NULL RETURNING id
), former AS (
  DELETE FROM subjects_contactchange c USING gone WHERE c.subject_id = gone.id
)
DELETE FROM subjects_contact c USING gone WHERE c.subject_id = gone.id
