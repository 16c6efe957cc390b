"""The live views, and the functions through which the public process writes.

Why functions (SECURITY DEFINER) and not INSERT grants on columns: a grant would let a taken-over public process write any row it likes: a
session of an epoch to come, which would survive the next cutover, or a password for whom it pleases. The functions hold what it may do:
  open_session   never an epoch above the present one; for an account that exists
  redeem         sets one password, in our format, for the holder of a live token, and spends the token in the same statement
  revoked_hash   the account's present hash, dead or alive, only against a live token: a new password is compared with the one it replaces.
                 It answers nobody without a link from the mailbox, and the log-in has no use for it
  renew_lease    always two seconds; acknowledges nothing    ack   notes committed cutovers as seen, after the lease stands
Each names its search_path, and nobody may execute it until sql/grants.sql says so.
"""

from django.db import migrations

VIEWS = """
CREATE VIEW credentials_live_credential WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population, a.login_hmac, c.class, c.epoch, s.epoch AS session_epoch, c.version, c.hash, c.set_at
  FROM credentials_credential c
  JOIN credentials_account a ON a.id = c.account_id
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
  JOIN credentials_epoch s ON s.population_id = a.population_id AND s.cohort = a.cohort AND s.class = 'session'
  WHERE c.epoch >= e.epoch;

CREATE VIEW credentials_live_session WITH (security_barrier) AS
  SELECT t.sid_sha256, a.id AS account_id, a.subject, p.name AS population, t.epoch, t.created_at
  FROM credentials_session t
  JOIN credentials_account a ON a.id = t.account_id
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password' AND c.version = t.version
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  WHERE t.epoch >= e.epoch;

CREATE VIEW credentials_live_resettoken WITH (security_barrier) AS
  SELECT t.token_sha256, a.id AS account_id, a.subject, p.name AS population, t.epoch, t.context, t.created_at, t.expires_at
  FROM credentials_resettoken t
  JOIN credentials_account a ON a.id = t.account_id
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'reset_token'
  WHERE t.used_at IS NULL AND t.revoked_at IS NULL AND t.epoch >= e.epoch;
"""

FUNCTIONS = """
CREATE FUNCTION credentials_open_session(p_sid bytea, p_account bigint, p_epoch int, p_version int, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, created_at)
  SELECT p_sid, a.id, least(p_epoch, e.epoch), p_version, p_at
  FROM credentials_account a
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  WHERE a.id = p_account;
END $$;

CREATE FUNCTION credentials_end_session(p_sid bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_session WHERE sid_sha256 = p_sid;
END $$;

CREATE FUNCTION credentials_revoked_hash(p_token bytea, p_at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN (SELECT c.hash FROM credentials_live_resettoken t
          JOIN credentials_credential c ON c.account_id = t.account_id AND c.class = 'password'
          WHERE t.token_sha256 = p_token AND t.expires_at > p_at);
END $$;

-- One statement: whether the token is live, the epoch of the new password, and all that follows are read in one snapshot. Two uses at once
-- queue at the token's row, and the second finds used_at set. A cutover that commits meanwhile leaves a password of the older epoch: dead.
CREATE FUNCTION credentials_redeem(p_token bytea, p_hash text, p_at timestamptz)
RETURNS TABLE (account_id bigint, subject bigint, salt bytea, incident int, version int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF p_hash NOT LIKE '$argon2id$%' THEN
    RAISE EXCEPTION 'a new password is stored as argon2id only';
  END IF;
  RETURN QUERY
  WITH used AS (
    UPDATE credentials_resettoken t SET used_at = p_at
    FROM credentials_account a, credentials_epoch te, credentials_epoch pe
    WHERE t.token_sha256 = p_token AND t.used_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > p_at AND a.id = t.account_id
      AND te.population_id = a.population_id AND te.cohort = a.cohort AND te.class = 'reset_token' AND t.epoch >= te.epoch
      AND pe.population_id = a.population_id AND pe.cohort = a.cohort AND pe.class = 'password'
    RETURNING a.id AS account, a.subject AS subject, pe.epoch AS epoch, pe.incident AS incident
  ), put AS (
    INSERT INTO credentials_credential AS c (account_id, class, epoch, version, hash, set_at)
    SELECT used.account, 'password', used.epoch, 1, p_hash, p_at FROM used
    ON CONFLICT (account_id, class) DO UPDATE SET epoch = excluded.epoch, version = c.version + 1, hash = excluded.hash, set_at = excluded.set_at
    RETURNING c.version
  ), ended AS (
    DELETE FROM credentials_session s USING used WHERE s.account_id = used.account
  )
  SELECT used.account, used.subject, (SELECT x.salt FROM subjects_subject x WHERE x.id = used.subject), used.incident, put.version, used.epoch
  FROM used, put;
END $$;

CREATE FUNCTION credentials_renew_lease(p_node text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_nodelease (node, until, version) VALUES (p_node, clock_timestamp() + interval '2 seconds', 0)
  ON CONFLICT (node) DO UPDATE SET until = excluded.until;
END $$;

CREATE FUNCTION credentials_ack(p_node text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE seen bigint;
BEGIN
  SELECT coalesce(sum(version), 0) INTO seen FROM credentials_population;
  UPDATE credentials_nodelease SET version = seen WHERE node = p_node AND version <> seen;
  IF FOUND THEN
    INSERT INTO credentials_cutoverack (cutover_id, node, seen_at)
    SELECT id, p_node, clock_timestamp() FROM credentials_cutover WHERE state = 'committed'
    ON CONFLICT DO NOTHING;
    PERFORM pg_notify('tocsin_cutover_ack', p_node);
  END IF;
  RETURN seen;
END $$;

CREATE FUNCTION credentials_leave(p_node text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_nodelease WHERE node = p_node OR until < clock_timestamp() - interval '1 day';
END $$;

REVOKE ALL ON FUNCTION credentials_open_session, credentials_end_session, credentials_revoked_hash, credentials_redeem,
  credentials_renew_lease, credentials_ack, credentials_leave FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_leave, credentials_ack, credentials_renew_lease, credentials_redeem, credentials_revoked_hash,
  credentials_end_session, credentials_open_session;
DROP VIEW credentials_live_resettoken, credentials_live_session, credentials_live_credential;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0001_initial")]

    operations = [migrations.RunSQL(VIEWS + FUNCTIONS, UNDO)]
