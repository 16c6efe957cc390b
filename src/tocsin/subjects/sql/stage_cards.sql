-- Staging table of one file of tokens, gone with its transaction.
DROP TABLE IF EXISTS pg_temp.subjects_incoming_card;
CREATE TEMP TABLE subjects_incoming_card (line bigint, external_id text, token text, last4 text) ON COMMIT DROP
