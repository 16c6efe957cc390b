"""The live views of bearer tokens and factors, and the functions through which processes make, use and end them.

Epoch-bound by construction: each statement that makes a row reads the epoch of the row's class in the same snapshot in which it reads
what entitles to it: a live session, or a live token to be rotated. If a cutover commits meanwhile, the row carries the older epoch: dead.
  issue_bearer    a remember_me, refresh or api_token for the holder of a live session
  rotate_bearer   spends a live remember_me or refresh token and makes its successor and a session, all in one statement; one presented again
                  after REUSE_GRACE ends its family: tokens, sessions, and an entry in the log. Source: RFC 9700 s4.14.2
  end_bearer      ends the family of a token one holds        revoke_bearer   ends one of one's own        end_others   all but this session
  touch_bearer    notes the day of the last use, at most once a day
  add_factor, put_codes, remove_factor    only for the holder of a live session that a sign-in opened, not a token, after `p_oldest`
  factor_secret   the live secrets of one class of one account. A view could be read as a whole; this is asked account by account, and
                  gives seeds only sealed, under a key that no other process but the public one and the operator's holds
  passkey         a live passkey by its own id, with epoch and version for the session it may open, read in the same statement
  use_factor      accepts a code or an assertion once: only if its step is later than the last accepted one
  try_step        counts a try of a second step and tells whether it may be made: at most 10 in 15 minutes
Whoever makes tokens or sessions holds the account's row for KEY SHARE first; whoever ends all of an account holds it FOR UPDATE and so waits
for those under way, whose rows it then sees. Nothing here returns the salt of a subject or a secret of another account than the one asked for.
"""

from django.db import migrations

VIEWS = """
CREATE VIEW credentials_live_bearer WITH (security_barrier) AS
  SELECT t.id, t.secret_sha256, a.id AS account_id, a.subject, p.name AS population, t.class, t.family, t.epoch, t.version, t.label,
    t.created_at, t.expires_at, t.last_used
  FROM credentials_bearer t
  JOIN credentials_account a ON a.id = t.account_id
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password' AND c.version = t.version
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = t.class
  WHERE t.spent_at IS NULL AND t.revoked_at IS NULL AND t.epoch >= e.epoch;

CREATE VIEW credentials_live_factor WITH (security_barrier) AS
  SELECT f.id, a.id AS account_id, a.subject, p.name AS population, f.class, f.handle, f.epoch, f.label, f.created_at, f.last_used
  FROM credentials_factor f
  JOIN credentials_account a ON a.id = f.account_id
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = f.class
  WHERE f.epoch >= e.epoch AND (f.class <> 'recovery_code' OR f.last_step = 0);
"""

FUNCTIONS = """
CREATE FUNCTION credentials_issue_bearer(p_sid bytea, p_secret bytea, p_class text, p_family uuid, p_label text, p_at timestamptz,
  p_expires timestamptz, p_oldest timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM credentials_account a JOIN credentials_session s ON s.account_id = a.id WHERE s.sid_sha256 = p_sid FOR KEY SHARE OF a;
  DELETE FROM credentials_bearer b USING credentials_live_session l
  WHERE l.sid_sha256 = p_sid AND b.account_id = l.account_id AND b.expires_at < p_at - interval '1 day';
  INSERT INTO credentials_bearer (secret_sha256, account_id, class, family, epoch, version, label, created_at, expires_at)
  SELECT p_secret, a.id, p_class, p_family, e.epoch, s.version, p_label, p_at, p_expires
  FROM credentials_live_session l
  JOIN credentials_session s ON s.sid_sha256 = l.sid_sha256
  JOIN credentials_account a ON a.id = l.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = p_class
  WHERE l.sid_sha256 = p_sid AND s.family IS NULL AND s.created_at > p_oldest
    AND (SELECT count(*) FROM credentials_live_bearer o WHERE o.account_id = a.id AND o.class = p_class) < 50;
  RETURN FOUND;
END $$;

CREATE FUNCTION credentials_rotate_bearer(p_secret bytea, p_class text, p_new bytea, p_sid bytea, p_at timestamptz, p_expires timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  done int;
  reused record;
BEGIN
  IF p_class NOT IN ('remember_me', 'refresh') THEN
    RAISE EXCEPTION 'a token of class % is not rotated', p_class;
  END IF;
  PERFORM FROM credentials_account a JOIN credentials_bearer b ON b.account_id = a.id WHERE b.secret_sha256 = p_secret FOR KEY SHARE OF a;
  WITH spent AS (
    UPDATE credentials_bearer t SET spent_at = p_at, last_used = (p_at AT TIME ZONE 'UTC')::date
    FROM credentials_account a, credentials_epoch e, credentials_epoch s, credentials_credential c
    WHERE t.secret_sha256 = p_secret AND t.class = p_class AND t.spent_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > p_at
      AND a.id = t.account_id AND c.account_id = a.id AND c.class = 'password' AND c.version = t.version
      AND e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = t.class AND t.epoch >= e.epoch
      AND s.population_id = a.population_id AND s.cohort = a.cohort AND s.class = 'session'
    RETURNING a.id AS account, t.family, t.version, t.label, e.epoch AS epoch, s.epoch AS session_epoch
  ), successor AS (
    INSERT INTO credentials_bearer (secret_sha256, account_id, class, family, epoch, version, label, created_at, expires_at)
    SELECT p_new, account, p_class, family, epoch, version, label, p_at, p_expires FROM spent
  ), opened AS (
    INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, family, created_at)
    SELECT p_sid, account, session_epoch, version, family, p_at FROM spent
  )
  SELECT count(*) INTO done FROM spent;
  IF done = 1 THEN
    RETURN true;
  END IF;
  -- Two tabs that start together present one token twice: within the grace the second is refused and nothing more.
  WITH ended AS (
    UPDATE credentials_bearer b SET revoked_at = p_at
    FROM credentials_bearer t
    WHERE t.secret_sha256 = p_secret AND t.class = p_class AND t.spent_at < p_at - interval '10 seconds'
      AND b.family = t.family AND b.revoked_at IS NULL
    RETURNING b.account_id, b.family
  ), sessions AS (
    DELETE FROM credentials_session x USING ended WHERE x.account_id = ended.account_id AND x.family = ended.family
  )
  SELECT a.subject, (SELECT x.salt FROM subjects_subject x WHERE x.id = a.subject) AS salt, e.incident, count(*) AS tokens INTO reused
  FROM ended
  JOIN credentials_account a ON a.id = ended.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  GROUP BY a.subject, e.incident;
  IF FOUND THEN
    PERFORM evidence_record_public(110, p_at, reused.incident, CASE WHEN reused.salt IS NOT NULL THEN reused.subject END, reused.salt,
      format('{"class":"%s","ended":%s}', p_class, reused.tokens));
  END IF;
  RETURN false;
END $$;

CREATE FUNCTION credentials_end_bearer(p_secret bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE credentials_bearer b SET revoked_at = p_at FROM credentials_bearer t
  WHERE t.secret_sha256 = p_secret AND b.family = t.family AND b.revoked_at IS NULL;
END $$;

CREATE FUNCTION credentials_revoke_bearer(p_sid bytea, p_id bigint, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_session x USING credentials_bearer b, credentials_live_session l
  WHERE l.sid_sha256 = p_sid AND b.id = p_id AND b.account_id = l.account_id AND x.account_id = b.account_id AND x.family = b.family
    AND x.sid_sha256 <> p_sid;
  UPDATE credentials_bearer b SET revoked_at = p_at FROM credentials_live_session l
  WHERE l.sid_sha256 = p_sid AND b.id = p_id AND b.account_id = l.account_id AND b.revoked_at IS NULL;
  RETURN FOUND;
END $$;

CREATE FUNCTION credentials_end_others(p_sid bytea, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  mine bigint;
BEGIN
  SELECT account_id INTO mine FROM credentials_live_session WHERE sid_sha256 = p_sid;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM FROM credentials_account WHERE id = mine FOR UPDATE;
  UPDATE credentials_bearer SET revoked_at = p_at WHERE account_id = mine AND revoked_at IS NULL;
  DELETE FROM credentials_session WHERE account_id = mine AND sid_sha256 <> p_sid;
  RETURN true;
END $$;

CREATE FUNCTION credentials_touch_bearer(p_secret bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE credentials_bearer SET last_used = (p_at AT TIME ZONE 'UTC')::date
  WHERE secret_sha256 = p_secret AND last_used IS DISTINCT FROM (p_at AT TIME ZONE 'UTC')::date;
END $$;

-- The account of a session by which its owner may change how to sign in; NULL if it is none. Called by the functions below only.
CREATE FUNCTION credentials_fresh_account(p_sid bytea, p_oldest timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN (SELECT l.account_id FROM credentials_live_session l JOIN credentials_session s ON s.sid_sha256 = l.sid_sha256
          WHERE l.sid_sha256 = p_sid AND s.family IS NULL AND s.created_at > p_oldest);
END $$;

CREATE FUNCTION credentials_factor_event(p_type int, p_account bigint, p_class text, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  who record;
BEGIN
  SELECT a.subject, (SELECT x.salt FROM subjects_subject x WHERE x.id = a.subject) AS salt INTO who FROM credentials_account a WHERE a.id = p_account;
  IF who.salt IS NOT NULL THEN  -- none for an account of ours, or of somebody whose data was erased
    PERFORM evidence_record_public(p_type, p_at, NULL, who.subject, who.salt, format('{"class":"%s"}', p_class));
  END IF;
END $$;

-- Returns the account, NULL if the session does not entitle to it, an older code was confirmed, or 10 passkeys are there.
CREATE FUNCTION credentials_add_factor(p_sid bytea, p_class text, p_secret bytea, p_handle bytea, p_label text, p_sign_count bigint,
  p_step bigint, p_at timestamptz, p_oldest timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  mine CONSTANT bigint := credentials_fresh_account(p_sid, p_oldest);
BEGIN
  IF p_class NOT IN ('totp', 'passkey') THEN
    RAISE EXCEPTION 'a factor of class % is not added one by one', p_class;
  END IF;
  IF p_class = 'totp' THEN
    DELETE FROM credentials_factor WHERE account_id = mine AND class = 'totp';
  END IF;
  INSERT INTO credentials_factor (account_id, class, epoch, secret, handle, label, sign_count, last_step, created_at)
  SELECT a.id, p_class, e.epoch, p_secret, p_handle, p_label, p_sign_count, p_step, p_at
  FROM credentials_live_session l
  JOIN credentials_account a ON a.id = l.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = p_class
  WHERE l.sid_sha256 = p_sid AND a.id = mine
    AND (SELECT count(*) FROM credentials_live_factor o WHERE o.account_id = a.id AND o.class = p_class) < 10
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM credentials_factor_event(111, mine, p_class, p_at);
  RETURN mine;
END $$;

CREATE FUNCTION credentials_put_codes(p_sid bytea, p_digests bytea[], p_at timestamptz, p_oldest timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  mine CONSTANT bigint := credentials_fresh_account(p_sid, p_oldest);
  made int;
BEGIN
  IF cardinality(p_digests) > 20 THEN
    RAISE EXCEPTION 'more than 20 recovery codes';
  END IF;
  DELETE FROM credentials_factor WHERE account_id = mine AND class = 'recovery_code';
  INSERT INTO credentials_factor (account_id, class, epoch, secret, label, sign_count, last_step, created_at)
  SELECT a.id, 'recovery_code', e.epoch, d, '', 0, 0, p_at
  FROM credentials_live_session l
  JOIN credentials_account a ON a.id = l.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'recovery_code'
  CROSS JOIN unnest(p_digests) d
  WHERE l.sid_sha256 = p_sid AND a.id = mine;
  GET DIAGNOSTICS made = ROW_COUNT;
  IF made > 0 THEN
    PERFORM credentials_factor_event(111, mine, 'recovery_code', p_at);
  END IF;
  RETURN made;
END $$;

CREATE FUNCTION credentials_remove_factor(p_sid bytea, p_id bigint, p_at timestamptz, p_oldest timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  mine CONSTANT bigint := credentials_fresh_account(p_sid, p_oldest);
  removed text;
BEGIN
  DELETE FROM credentials_factor WHERE id = p_id AND account_id = mine AND class <> 'recovery_code' RETURNING class INTO removed;
  IF removed IS NULL THEN
    RETURN false;
  END IF;
  IF NOT EXISTS (SELECT FROM credentials_live_factor WHERE account_id = mine AND class IN ('totp', 'passkey')) THEN
    DELETE FROM credentials_factor WHERE account_id = mine;  -- codes that recover nothing any more, and what a cutover ended
  END IF;
  PERFORM credentials_factor_event(112, mine, removed, p_at);
  RETURN true;
END $$;

CREATE FUNCTION credentials_factor_secret(p_account bigint, p_class text) RETURNS TABLE (id bigint, secret bytea, last_step bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT f.id, f.secret, f.last_step FROM credentials_live_factor l JOIN credentials_factor f ON f.id = l.id
    WHERE l.account_id = p_account AND l.class = p_class;
END $$;

-- Whether a cutover ended a second step of this account that was not set up anew.
CREATE FUNCTION credentials_factor_ended(p_account bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM credentials_factor f
    JOIN credentials_account a ON a.id = f.account_id
    JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = f.class
    WHERE a.id = p_account AND f.class IN ('totp', 'passkey') AND f.epoch < e.epoch);
END $$;

CREATE FUNCTION credentials_passkey(p_handle bytea) RETURNS TABLE (id bigint, account_id bigint, population text, secret bytea, sign_count bigint,
  last_step bigint, session_epoch int, version int)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT f.id, l.account_id, l.population, f.secret, f.sign_count, f.last_step, s.epoch, c.version
    FROM credentials_live_factor l
    JOIN credentials_factor f ON f.id = l.id
    JOIN credentials_account a ON a.id = l.account_id
    JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password'
    JOIN credentials_epoch s ON s.population_id = a.population_id AND s.cohort = a.cohort AND s.class = 'session'
    WHERE l.handle = p_handle AND l.class = 'passkey';
END $$;

CREATE FUNCTION credentials_use_factor(p_account bigint, p_id bigint, p_step bigint, p_sign_count bigint, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE credentials_factor f SET last_step = p_step, sign_count = p_sign_count, last_used = (p_at AT TIME ZONE 'UTC')::date
  FROM credentials_account a, credentials_epoch e
  WHERE f.id = p_id AND f.account_id = p_account AND f.last_step < p_step AND a.id = f.account_id
    AND e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = f.class AND f.epoch >= e.epoch;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM credentials_steptries WHERE account_id = p_account;
  RETURN true;
END $$;

CREATE FUNCTION credentials_try_step(p_account bigint, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  made int;
BEGIN
  INSERT INTO credentials_steptries AS t (account_id, tries, since) SELECT a.id, 1, p_at FROM credentials_account a WHERE a.id = p_account
  ON CONFLICT (account_id) DO UPDATE SET
    tries = CASE WHEN t.since < p_at - interval '15 minutes' THEN 1 ELSE t.tries + 1 END,
    since = CASE WHEN t.since < p_at - interval '15 minutes' THEN p_at ELSE t.since END
  RETURNING t.tries INTO made;
  RETURN coalesce(made <= 10, false);
END $$;

REVOKE ALL ON FUNCTION credentials_issue_bearer, credentials_rotate_bearer, credentials_end_bearer, credentials_revoke_bearer, credentials_end_others,
  credentials_touch_bearer, credentials_fresh_account, credentials_factor_event, credentials_add_factor, credentials_put_codes, credentials_remove_factor,
  credentials_factor_secret, credentials_factor_ended, credentials_passkey, credentials_use_factor, credentials_try_step FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_try_step, credentials_use_factor, credentials_passkey, credentials_factor_ended, credentials_factor_secret, credentials_remove_factor,
  credentials_put_codes, credentials_add_factor, credentials_factor_event, credentials_fresh_account, credentials_touch_bearer, credentials_end_others,
  credentials_revoke_bearer, credentials_end_bearer, credentials_rotate_bearer, credentials_issue_bearer;
DROP VIEW credentials_live_factor, credentials_live_bearer;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0010_bearers_and_factors"), ("evidence", "0010_public_credential_events")]

    operations = [migrations.RunSQL(VIEWS + FUNCTIONS, UNDO)]
