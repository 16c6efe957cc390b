"""The public process puts nothing into log and queue by itself: the functions it may call do, each its own entry and its own job.

With INSERT on the queue whoever took that process over could enqueue any job for the worker, which holds the keys; with SELECT it could
read what waits there.
  ask_reset   enqueues `credentials.tasks.send_reset` for the digest of an address; one waiting copy per address
  redeem      as in 0002; in the same transaction the log's entry of the new password, and the job of the letter about it
The redeem of 0002 gave the subject's salt to its caller, to make the entry with. Now no salt leaves the database this way.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION credentials_ask_reset(p_lookup bytea, p_request uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF octet_length(p_lookup) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
  VALUES ('general', 'credentials.tasks.send_reset', 20, 'reset:' || encode(p_lookup, 'hex'),
    jsonb_build_object('lookup', encode(p_lookup, 'hex'), 'request', p_request::text, 'asked_us', trunc(extract(epoch FROM p_at) * 1000000)::bigint))
  ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;

DROP FUNCTION credentials_redeem;

-- One statement sets the password: whether the token is live, the new epoch, and all that follows are read in one snapshot. Two uses at
-- once queue at the token's row, and the second finds used_at set. A cutover that commits meanwhile leaves a password of the older epoch:
-- dead. Returns 1 row, or none for a token that is not live.
CREATE FUNCTION credentials_redeem(p_token bytea, p_hash text, p_at timestamptz) RETURNS TABLE (version int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  done record;
BEGIN
  IF p_hash NOT LIKE '$argon2id$%' THEN
    RAISE EXCEPTION 'a new password is stored as argon2id only';
  END IF;
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
  SELECT used.subject, (SELECT x.salt FROM subjects_subject x WHERE x.id = used.subject) AS salt, used.incident, put.version, used.epoch
  INTO done FROM used, put;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- Without a salt (a canary, or somebody whose data was erased) it is an act that names nobody.
  PERFORM evidence_record_public(61, p_at, done.incident, CASE WHEN done.salt IS NOT NULL THEN done.subject END, done.salt,
    format('{"epoch":%s,"version":%s}', done.epoch, done.version));
  IF done.salt IS NOT NULL THEN
    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
    VALUES ('general', 'credentials.tasks.send_changed', 20, jsonb_build_object('subject', done.subject, 'version', done.version));
  END IF;
  RETURN QUERY SELECT done.version, done.epoch;
END $$;

REVOKE ALL ON FUNCTION credentials_ask_reset, credentials_redeem FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [
        ("credentials", "0002_live_views"),
        ("evidence", "0003_record_public"),
        ("procrastinate", "0041_post_retry_failed_job"),
    ]

    operations = [migrations.RunSQL(FUNCTIONS)]
