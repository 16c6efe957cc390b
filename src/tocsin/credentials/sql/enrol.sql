-- Make accounts of subjects with their digests of the address. Rows: up to 10,000. Indexes: credentials_account (population, subject) and
-- (population, login_hmac); who shares an address with somebody enrolled earlier gets none. Locks the new rows.
INSERT INTO credentials_account (subject, population_id, cohort, login_hmac)
SELECT x.subject, %(population)s, 0, x.login FROM unnest(%(subjects)s::bigint[], %(logins)s::bytea[]) AS x(subject, login)
ON CONFLICT DO NOTHING
