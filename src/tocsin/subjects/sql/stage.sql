-- Staging tables of one import, gone with its transaction. `seen` finds an external id that a file names twice.
DROP TABLE IF EXISTS pg_temp.subjects_seen, pg_temp.subjects_incoming, pg_temp.subjects_incoming_contact;
CREATE TEMP TABLE subjects_seen (external_id text PRIMARY KEY) ON COMMIT DROP;
CREATE TEMP TABLE subjects_incoming (
  id bigint, external_id text, jurisdiction text, basis text, locale text, holding bigint, salt bytea, name_sealed bytea, known boolean
) ON COMMIT DROP;
CREATE TEMP TABLE subjects_incoming_contact (
  subject bigint, kind text, rank smallint, sealed bytea, lookup bytea, provider text
) ON COMMIT DROP
