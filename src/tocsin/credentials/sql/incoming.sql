-- The batch on its way in, gone with its transaction. Its indexes are not worth making for 50,000 rows.
CREATE TEMP TABLE credentials_incoming (
  line bigint, external_id text, login_hmac bytea, hash text, set_at timestamptz, subject bigint, account bigint, fault_field text, fault text
) ON COMMIT DROP
