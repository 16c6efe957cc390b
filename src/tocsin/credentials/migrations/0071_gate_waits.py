"""The gate stays closed until a company's own systems have the new password.

A reset on our site gives the account a live password at once, but the shop behind the gate knows only the old one until a connector has
written the new one: opening before that would let the old one in. So an account with a password on its way (outbox: waiting, or failed for
good) is closed. A newer password, or one set in the shop's own page, takes the place of one that failed.
"""

from django.db import migrations

VIEW = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1))
      AND NOT EXISTS (SELECT FROM credentials_outbox o WHERE o.account_id = a.id AND o.state IN ('waiting', 'failed') AND o.epoch >= e.epoch) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
"""

BEFORE = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1)) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
"""


REDEEM = """
CREATE OR REPLACE FUNCTION credentials_redeem_to(p_token bytea, p_hash text, p_at timestamptz, p_outbox jsonb) RETURNS TABLE (version int, epoch int)
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
  WHERE o.account_id = holder AND o.target_id = x.target AND o.state IN ('waiting', 'failed');
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
"""

REDEEM_BEFORE = """
CREATE OR REPLACE FUNCTION credentials_redeem_to(p_token bytea, p_hash text, p_at timestamptz, p_outbox jsonb) RETURNS TABLE (version int, epoch int)
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
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0070_gate")]

    operations = [migrations.RunSQL(VIEW, BEFORE), migrations.RunSQL(REDEEM, REDEEM_BEFORE)]
