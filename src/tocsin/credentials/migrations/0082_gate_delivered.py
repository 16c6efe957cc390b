"""Whether a company's own system is known to have the new password, beside whether there is one at all.

`delivered` holds before the first cutover, after a lift of this epoch, for an account that was imported
under it, and once a connector has brought the password of this epoch. Which of
the two the gate asks for is the caller's (`[gate] opens`): `gate_ask` takes it as an argument, the board picks its rows.
"""

from django.db import migrations

SQL = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1))
      AND (e.epoch = 1 OR NOT EXISTS (
        SELECT FROM credentials_outbox o WHERE o.account_id = a.id AND o.state IN ('waiting', 'failed') AND o.epoch >= e.epoch)) AS open,
    e.epoch = 1 OR e.epoch <= coalesce(l.epoch, 1) OR (c.version = 0 AND c.epoch >= e.epoch)
      OR EXISTS (SELECT FROM credentials_outbox d WHERE d.account_id = a.id AND d.state = 'done' AND d.epoch >= e.epoch) AS delivered
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';

CREATE OR REPLACE VIEW credentials_gate_open AS
  SELECT g.account_id, e.epoch AS session_epoch, g.delivered
  FROM credentials_gate g
  JOIN credentials_account a ON a.id = g.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  WHERE g.open AND g.population = 'customers';

DROP FUNCTION credentials_gate_ask;
CREATE FUNCTION credentials_gate_ask(p_subjects text[], p_delivered boolean)
RETURNS TABLE (subject text, account_id bigint, is_open boolean, session_epoch int, version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE ids bigint[];
BEGIN
  IF cardinality(p_subjects) > 1000 THEN
    RAISE EXCEPTION 'at most 1000 subjects at once';
  END IF;
  ids := ARRAY(SELECT s.id FROM subjects_subject s WHERE s.external_id = ANY(p_subjects));
  RETURN QUERY
  SELECT s.external_id, g.account_id, g.open AND (g.delivered OR NOT p_delivered), e.epoch, v.version
  FROM (SELECT coalesce(sum(p.version), 0)::bigint AS version FROM credentials_population p) v
  LEFT JOIN (SELECT x.account_id, x.subject, x.open, x.delivered FROM credentials_gate x WHERE x.subject = ANY(ids) AND x.population = 'customers') g ON true
  LEFT JOIN subjects_subject s ON s.id = g.subject
  LEFT JOIN credentials_account a ON a.id = g.account_id
  LEFT JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session';
END $$;

REVOKE ALL ON FUNCTION credentials_gate_ask FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_gate_ask;
DROP VIEW credentials_gate_open;
DROP VIEW credentials_gate;
CREATE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1))
      AND (e.epoch = 1 OR NOT EXISTS (
        SELECT FROM credentials_outbox o WHERE o.account_id = a.id AND o.state IN ('waiting', 'failed') AND o.epoch >= e.epoch)) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
CREATE VIEW credentials_gate_open AS
  SELECT g.account_id, e.epoch AS session_epoch
  FROM credentials_gate g
  JOIN credentials_account a ON a.id = g.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  WHERE g.open AND g.population = 'customers';

CREATE FUNCTION credentials_gate_ask(p_subjects text[])
RETURNS TABLE (subject text, account_id bigint, is_open boolean, session_epoch int, version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE ids bigint[];
BEGIN
  IF cardinality(p_subjects) > 1000 THEN
    RAISE EXCEPTION 'at most 1000 subjects at once';
  END IF;
  ids := ARRAY(SELECT s.id FROM subjects_subject s WHERE s.external_id = ANY(p_subjects));
  RETURN QUERY
  SELECT s.external_id, g.account_id, g.open, e.epoch, v.version
  FROM (SELECT coalesce(sum(p.version), 0)::bigint AS version FROM credentials_population p) v
  LEFT JOIN (SELECT x.account_id, x.subject, x.open FROM credentials_gate x WHERE x.subject = ANY(ids) AND x.population = 'customers') g ON true
  LEFT JOIN subjects_subject s ON s.id = g.subject
  LEFT JOIN credentials_account a ON a.id = g.account_id
  LEFT JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session';
END $$;

REVOKE ALL ON FUNCTION credentials_gate_ask FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0081_gate_before_cutover")]

    operations = [migrations.RunSQL(SQL, UNDO)]
