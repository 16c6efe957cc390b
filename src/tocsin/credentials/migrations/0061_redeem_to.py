"""A new password goes to the company's own systems too: into the outbox, in the transaction that spends the link.

`credentials_redeem_to` is `credentials_redeem` and the outbox in one. The public process hands over, for each target, a secret that it
cannot open again; the function takes only targets of the account's population that are armed or gated, and only formats they take.
What waits there already for this account and target is replaced: the newest password is the one that arrives.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION credentials_redeem_to(p_token bytea, p_hash text, p_at timestamptz, p_outbox jsonb) RETURNS TABLE (version int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  holder bigint;
  done record;
BEGIN
  SELECT t.account_id INTO holder FROM credentials_resettoken t WHERE t.token_sha256 = p_token;
  SELECT r.version, r.epoch INTO done FROM credentials_redeem(p_token, p_hash, p_at) r;
  IF NOT FOUND OR done.version IS NULL THEN
    RETURN;
  END IF;
  UPDATE credentials_outbox o SET state = 'replaced', sealed = NULL
  FROM jsonb_to_recordset(p_outbox) AS x(target bigint, format text, sealed text)
  WHERE o.account_id = holder AND o.target_id = x.target AND o.state = 'waiting';
  WITH put AS (
    INSERT INTO credentials_outbox (account_id, target_id, epoch, format, sealed, state, tries, problem, created_at)
    SELECT a.id, g.id, done.epoch, x.format, decode(x.sealed, 'base64'), 'waiting', 0, '', p_at
    FROM jsonb_to_recordset(p_outbox) AS x(target bigint, format text, sealed text)
    JOIN credentials_target g ON g.id = x.target AND g.state IN ('armed', 'gated', 'draining', 'drained') AND x.format = ANY (g.formats)
    JOIN credentials_account a ON a.id = holder AND a.population_id = g.population_id AND a.subject IS NOT NULL
    RETURNING id
  )
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
  SELECT 'general', 'credentials.tasks.deliver_password', 30, jsonb_build_object('outbox', put.id) FROM put;
  RETURN QUERY SELECT done.version, done.epoch;
END $$;

REVOKE ALL ON FUNCTION credentials_redeem_to FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0060_connectors")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION credentials_redeem_to")]
