"""What a taken-over process could still do to the cutover, and may not.

  open_session   only for a live password of the version named, or for a live passkey that was used just now: an ended password opens nothing,
                 whoever asks
  renew_lease, ack, gate_ack, leave
                 a node belongs to the database role that made its lease: a taken-over public process cannot acknowledge for the gate, nor
                 send it away. Nodes of one role can still speak for each other: they hold the same rights
  raise_epochs   raises what an armed cutover names, if the epochs are where it says, and keeps what they were (credentials_raised, which no
                 process reads or writes)
  restore_epochs lowers only to what raise_epochs kept, once, for a cutover that is committed or sealed and whose erasure has not begun
  seal_epochs, open_population, new_cohort
                 the other writes of credentials_epoch, on which no process has INSERT or UPDATE
The signatures of two people are checked by the process that calls. What a cutover names no process may
change (sql/grants.sql); that an erasure has begun the ledger tells too, from which no process deletes. Each function names its search_path, and nobody may execute it until sql/grants.sql says so.
"""

import django.db.models.deletion
from django.db import migrations, models

KEPT = """
INSERT INTO credentials_raised (cutover_id, from_epochs, to_epoch)
SELECT id, from_epochs, to_epoch FROM credentials_cutover WHERE state IN ('committed', 'sealed');
DELETE FROM credentials_nodelease;
"""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION credentials_open_session(p_sid bytea, p_account bigint, p_epoch int, p_version int, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, created_at)
  SELECT p_sid, a.id, least(p_epoch, e.epoch), p_version, p_at
  FROM credentials_account a
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'session'
  JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password' AND c.version = p_version
  JOIN credentials_epoch pe ON pe.population_id = a.population_id AND pe.cohort = a.cohort AND pe.class = 'password'
  WHERE a.id = p_account AND (c.epoch >= pe.epoch
    OR EXISTS (SELECT FROM credentials_live_factor l JOIN credentials_factor f ON f.id = l.id
               WHERE l.account_id = a.id AND l.class = 'passkey'
                 AND f.last_step >= trunc(extract(epoch FROM p_at - interval '10 minutes') * 1000000)::bigint));
END $$;

CREATE OR REPLACE FUNCTION credentials_renew_lease(p_node text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_nodelease (node, role, until, version) VALUES (p_node, session_user, clock_timestamp() + interval '2 seconds', 0)
  ON CONFLICT (node) DO UPDATE SET until = excluded.until WHERE credentials_nodelease.role = session_user;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node % belongs to another role', p_node USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;

-- 1 row by primary key. A node without a lease belongs to nobody yet.
CREATE FUNCTION credentials_own_node(p_node text) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM credentials_nodelease WHERE node = p_node AND role <> session_user) THEN
    RAISE EXCEPTION 'node % belongs to another role', p_node USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION credentials_ack(p_node text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE seen bigint;
BEGIN
  PERFORM credentials_own_node(p_node);
  SELECT coalesce(sum(version), 0) INTO seen FROM credentials_population;
  UPDATE credentials_nodelease SET version = seen WHERE node = p_node AND role = session_user AND version <> seen;
  IF FOUND THEN
    INSERT INTO credentials_cutoverack (cutover_id, node, seen_at)
    SELECT id, p_node, clock_timestamp() FROM credentials_cutover WHERE state = 'committed'
    ON CONFLICT DO NOTHING;
    PERFORM pg_notify('tocsin_cutover_ack', p_node);
  END IF;
  RETURN seen;
END $$;

CREATE OR REPLACE FUNCTION credentials_gate_ack(p_node text, p_seen bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE found bigint; acked boolean;
BEGIN
  PERFORM credentials_own_node(p_node);
  WITH v AS (
    SELECT coalesce(sum(p.version), 0)::bigint AS version FROM credentials_population p
  ), moved AS (
    UPDATE credentials_nodelease l SET version = v.version FROM v
    WHERE l.node = p_node AND l.role = session_user AND v.version = p_seen AND l.version <> v.version
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

CREATE OR REPLACE FUNCTION credentials_leave(p_node text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM credentials_own_node(p_node);
  DELETE FROM credentials_nodelease WHERE node = p_node OR until < clock_timestamp() - interval '1 day';
END $$;

-- A row per cohort and class, all of the population's at most. Locks them, and the cutover. Returns how many were raised: all or none.
CREATE FUNCTION credentials_raise_epochs(p_cutover bigint, p_at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE c credentials_cutover; wanted int; raised int;
BEGIN
  SELECT * INTO c FROM credentials_cutover WHERE id = p_cutover AND state = 'armed' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'cutover % is not armed', p_cutover;
  END IF;
  PERFORM 1 FROM credentials_epoch e WHERE e.population_id = c.population_id ORDER BY e.cohort, e.class FOR UPDATE;
  SELECT count(*) INTO wanted FROM jsonb_object_keys(c.from_epochs);
  SELECT count(*) FILTER (WHERE e.epoch = (c.from_epochs ->> (e.cohort || '/' || e.class))::int AND e.highest < c.to_epoch)
    - count(*) FILTER (WHERE NOT c.from_epochs ? (e.cohort || '/' || e.class)) INTO raised
  FROM credentials_epoch e
  WHERE e.population_id = c.population_id AND e.class = ANY (c.classes) AND (c.cohort IS NULL OR e.cohort = c.cohort)
    AND NOT e.cohort = ANY (c.spared);
  IF raised <> wanted THEN
    RETURN 0;
  END IF;
  UPDATE credentials_epoch e
  SET epoch = c.to_epoch, highest = c.to_epoch, not_before = p_at, incident = c.incident, state = 'committed'
  WHERE e.population_id = c.population_id AND e.class = ANY (c.classes) AND c.from_epochs ? (e.cohort || '/' || e.class);
  INSERT INTO credentials_raised (cutover_id, from_epochs, to_epoch) VALUES (c.id, c.from_epochs, c.to_epoch);
  RETURN raised;
END $$;

-- The same rows, back. Returns 0 if another cutover followed: nothing is lowered then.
CREATE FUNCTION credentials_restore_epochs(p_cutover bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE c credentials_cutover; kept credentials_raised; wanted int; there int;
BEGIN
  SELECT * INTO c FROM credentials_cutover
  WHERE id = p_cutover AND state IN ('committed', 'sealed') AND erasing_at IS NULL
    AND NOT EXISTS (SELECT FROM credentials_erasure x WHERE x.cutover_id = p_cutover) FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'cutover % cannot be taken back', p_cutover;
  END IF;
  SELECT * INTO kept FROM credentials_raised WHERE cutover_id = p_cutover FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'cutover % has raised nothing', p_cutover;
  END IF;
  PERFORM 1 FROM credentials_epoch e WHERE e.population_id = c.population_id ORDER BY e.cohort, e.class FOR UPDATE;
  SELECT count(*) INTO wanted FROM jsonb_object_keys(kept.from_epochs);
  SELECT count(*) INTO there FROM credentials_epoch e
  WHERE e.population_id = c.population_id AND kept.from_epochs ? (e.cohort || '/' || e.class) AND e.epoch = kept.to_epoch;
  IF there <> wanted THEN
    RETURN 0;
  END IF;
  UPDATE credentials_epoch e
  SET epoch = (kept.from_epochs ->> (e.cohort || '/' || e.class))::int, not_before = NULL, state = 'aborted'
  WHERE e.population_id = c.population_id AND kept.from_epochs ? (e.cohort || '/' || e.class);
  DELETE FROM credentials_raised WHERE cutover_id = p_cutover;
  RETURN there;
END $$;

CREATE FUNCTION credentials_seal_epochs(p_cutover bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE credentials_epoch e SET state = 'sealed' FROM credentials_cutover c
  WHERE c.id = p_cutover AND c.state = 'sealed' AND e.population_id = c.population_id AND e.class = ANY (c.classes) AND e.epoch = c.to_epoch;
END $$;

CREATE FUNCTION credentials_open_population(p_population text, p_classes text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  WITH made AS (
    INSERT INTO credentials_population (name, connector, version) VALUES (p_population, 'native', 0) ON CONFLICT (name) DO NOTHING RETURNING id
  )
  INSERT INTO credentials_epoch (population_id, cohort, class, epoch, highest, state)
  SELECT made.id, 0, class, 1, 1, 'open' FROM made, unnest(p_classes) AS class;
END $$;

CREATE FUNCTION credentials_new_cohort(p_population bigint, p_cohort smallint, p_source smallint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_epoch (population_id, cohort, class, epoch, highest, not_before, incident, state)
  SELECT e.population_id, p_cohort, e.class, e.epoch, e.highest, e.not_before, e.incident, e.state
  FROM credentials_epoch e WHERE e.population_id = p_population AND e.cohort = p_source
  ON CONFLICT DO NOTHING;
END $$;

REVOKE ALL ON FUNCTION credentials_own_node, credentials_raise_epochs, credentials_restore_epochs, credentials_seal_epochs,
  credentials_open_population, credentials_new_cohort FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0090_fair_turns")]

    operations = [
        migrations.CreateModel(
            name="Raised",
            fields=[
                (
                    "cutover",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, primary_key=True, serialize=False, to="credentials.cutover"
                    ),
                ),
                ("from_epochs", models.JSONField()),
                ("to_epoch", models.IntegerField()),
            ],
        ),
        migrations.AddField("nodelease", "role", models.TextField(default=""), preserve_default=False),
        migrations.RunSQL(KEPT, migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTIONS),
    ]
