"""API keys, and the functions through which the process `tocsin api` reads: it has no right on any table but the populations' versions.

  gate_ask   who of these subjects is open; one snapshot for the answer and for the version it belongs to
  gate_ack   as `credentials_ack`, but only for the version that the node names: its board of that version is in use before a cutover counts
             as seen. One statement, so that no cutover that commits meanwhile is acknowledged unseen
  gate_keys  the digests of the keys that stand
The view credentials_gate_open names accounts by number only. The view credentials_gate is a barrier, into which a join is not pushed: asking it
for the account numbers first keeps the question on its indexes. Planning it anew for each question costs six times what answering it does, hence
the generic plan.
"""

from django.db import migrations, models

SQL = """
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

CREATE FUNCTION credentials_gate_ack(p_node text, p_seen bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE found bigint; acked boolean;
BEGIN
  WITH v AS (
    SELECT coalesce(sum(p.version), 0)::bigint AS version FROM credentials_population p
  ), moved AS (
    UPDATE credentials_nodelease l SET version = v.version FROM v
    WHERE l.node = p_node AND v.version = p_seen AND l.version <> v.version
    RETURNING 1
  ), noted AS (
    INSERT INTO credentials_cutoverack (cutover_id, node, seen_at)
    SELECT c.id, p_node, clock_timestamp() FROM credentials_cutover c, v
    WHERE c.state = 'committed' AND v.version = p_seen AND EXISTS (SELECT FROM moved)
    ON CONFLICT DO NOTHING
  )
  SELECT v.version, EXISTS (SELECT FROM moved) INTO found, acked FROM v;
  IF acked THEN
    PERFORM pg_notify('tocsin_cutover_ack', p_node);
  END IF;
  RETURN found;
END $$;

CREATE FUNCTION credentials_gate_keys() RETURNS TABLE (key_sha256 bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT k.key_sha256 FROM credentials_apikey k WHERE k.role = 'gate' AND k.revoked_at IS NULL ORDER BY k.id LIMIT 200;
$$;

REVOKE ALL ON FUNCTION credentials_gate_ask, credentials_gate_ack, credentials_gate_keys FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_gate_keys, credentials_gate_ack, credentials_gate_ask;
DROP VIEW credentials_gate_open;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0061_redeem_to")]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(unique=True)),
                ("key_sha256", models.BinaryField(unique=True)),
                ("role", models.TextField()),
                ("created_by", models.TextField()),
                ("created_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("role__in", ("gate",))), name="credentials_apikey_role")],
            },
        ),
        migrations.RunSQL(SQL, UNDO),
    ]
