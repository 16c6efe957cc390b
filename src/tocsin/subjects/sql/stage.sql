-- Staging tables of one import, gone with its transaction. `seen` finds an external id that a file names twice; `incoming` holds a batch of
-- people who are known already and say something new. Foreign keys are checked with each statement: kept for the end, their queue alone
-- would take gigabytes of the server's memory for 24 million people.
DROP TABLE IF EXISTS pg_temp.subjects_seen, pg_temp.subjects_incoming, pg_temp.subjects_before;
CREATE TEMP TABLE subjects_seen (external_id text PRIMARY KEY) ON COMMIT DROP;
CREATE TEMP TABLE subjects_incoming (
  id bigint, jurisdiction text, basis text, locale text, holding_id bigint, salt bytea, name_sealed bytea, row_digest bytea,
  last_active_date date
) ON COMMIT DROP;
CREATE TEMP TABLE subjects_before (subject_id bigint, sealed bytea, lookup bytea, provider text) ON COMMIT DROP;
SET CONSTRAINTS ALL IMMEDIATE
