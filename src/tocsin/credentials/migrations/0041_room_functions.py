"""What the public process may write of the waiting room, and of the limits that slow strangers down.

A taken-over public process can spoil the order of a queue this way, and nothing else: no row of the room opens an account.
  room_report    a node's measurements and its tickets per second, as absolute counts: reporting twice changes nothing
  room_lead      locks the room for this transaction and returns what the tick needs; null if another node leads, or has in this second
  room_move      what the leader decided; a watermark only rises, and never above the present
  room_keep      the place with which a live link was let through
  room_lane      whether a link's account signed in lately
  ask_in_turn    ask_reset of 0003; the request waits if its address or network asks much, and has its place in the waiting room
  reserve_try    counts a password before it is looked at, so that tries at once cannot slip past; returns how long it must wait
  forget_tries   after a right password, or a new one
Each names its search_path, and nobody may execute it until sql/grants.sql says so.
"""

from django.db import migrations

KEY = """
ALTER TABLE credentials_roomplace ADD CONSTRAINT credentials_roomplace_token
  FOREIGN KEY (token_sha256) REFERENCES credentials_resettoken ON DELETE CASCADE;
"""

FUNCTIONS = """
CREATE FUNCTION credentials_room_report(p_node text, p_lanes int[], p_seconds bigint[], p_counts int[], p_capacity float8, p_hashes float8,
  p_wait_p95_ms float8, p_strained bool, p_direct int, p_used int, p_close bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF coalesce(array_length(p_seconds, 1), 0) > 20000 THEN
    RAISE EXCEPTION 'at most 20000 seconds in one report';
  END IF;
  INSERT INTO credentials_roomnode (node, seen_at, capacity_per_s, hashes_per_s, wait_p95_ms, strained)
  VALUES (p_node, clock_timestamp(), p_capacity, p_hashes, p_wait_p95_ms, p_strained)
  ON CONFLICT (node) DO UPDATE SET seen_at = excluded.seen_at, capacity_per_s = excluded.capacity_per_s, hashes_per_s = excluded.hashes_per_s,
    wait_p95_ms = excluded.wait_p95_ms, strained = excluded.strained;
  INSERT INTO credentials_roomsecond (lane, second, node, issued)
  SELECT l, s, p_node, n FROM unnest(p_lanes, p_seconds, p_counts) AS t(l, s, n)
  ON CONFLICT (lane, second, node) DO UPDATE SET issued = greatest(credentials_roomsecond.issued, excluded.issued);
  INSERT INTO credentials_room (id, open, rate_per_s, factor, credit, capacity_per_s, hashes_per_s, wait_p95_ms, admitted_per_s, nodes, direct,
    used, pending, issued_total, used_total, ticked_at)
  VALUES (1, true, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, clock_timestamp() - interval '1 second')
  ON CONFLICT (id) DO NOTHING;
  IF p_direct > 0 OR p_used > 0 THEN
    UPDATE credentials_room SET direct = direct + greatest(p_direct, 0), used = used + greatest(p_used, 0) WHERE id = 1;
  END IF;
  IF p_close IS NOT NULL THEN
    UPDATE credentials_room SET open = false, credit = 0, ticked_at = clock_timestamp() WHERE id = 1 AND open;
    IF FOUND THEN
      INSERT INTO credentials_roomlane (lane, mark, admitted)
      SELECT l, least(p_close, extract(epoch FROM clock_timestamp())), 0 FROM generate_series(0, 2) AS l
      ON CONFLICT (lane) DO UPDATE SET mark = greatest(credentials_roomlane.mark, excluded.mark), admitted = 0;
      PERFORM pg_notify('tocsin_room', 'closed');
    END IF;
  END IF;
END $$;

CREATE FUNCTION credentials_room_lead() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  r credentials_room;
BEGIN
  IF NOT pg_try_advisory_xact_lock(1953653347, 1) THEN
    RETURN NULL;
  END IF;
  SELECT * INTO r FROM credentials_room WHERE id = 1 FOR UPDATE;
  IF NOT FOUND OR r.ticked_at > clock_timestamp() - interval '0.9 seconds' THEN
    RETURN NULL;
  END IF;
  RETURN to_jsonb(r) || jsonb_build_object(
    'now', extract(epoch FROM clock_timestamp()),
    'elapsed_s', extract(epoch FROM clock_timestamp() - r.ticked_at),
    'since_cut_s', coalesce(extract(epoch FROM clock_timestamp() - r.cut_at), 1e9),
    'live', (SELECT jsonb_build_object('nodes', count(*), 'capacity', coalesce(sum(n.capacity_per_s), 0), 'hashes', coalesce(sum(n.hashes_per_s), 0),
               'p95', coalesce(max(n.wait_p95_ms), 0), 'strained', coalesce(bool_or(n.strained), false))
             FROM credentials_roomnode n WHERE n.seen_at > clock_timestamp() - interval '5 seconds'),
    'limit', (SELECT min(l.per_s) FROM credentials_roomlimit l WHERE l.population = 'customers'));
END $$;

CREATE FUNCTION credentials_room_move(p_open bool, p_rate float8, p_factor float8, p_credit float8, p_capacity float8, p_hashes float8,
  p_wait_p95_ms float8, p_admitted_per_s float8, p_nodes int, p_pending float8, p_issued_total float8, p_used_total float8, p_direct int, p_used int, p_cut bool,
  p_lanes int[], p_marks float8[], p_admitted float8[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  present float8 := extract(epoch FROM clock_timestamp());
BEGIN
  IF NOT pg_try_advisory_xact_lock(1953653347, 1) THEN
    RAISE EXCEPTION 'another node leads the waiting room';
  END IF;
  UPDATE credentials_room SET open = p_open, rate_per_s = p_rate, factor = p_factor, credit = p_credit, capacity_per_s = p_capacity,
    hashes_per_s = p_hashes, wait_p95_ms = p_wait_p95_ms, admitted_per_s = p_admitted_per_s, nodes = p_nodes, pending = p_pending, issued_total = p_issued_total,
    used_total = p_used_total, direct = greatest(direct - p_direct, 0), used = greatest(used - p_used, 0), ticked_at = clock_timestamp(),
    cut_at = CASE WHEN p_cut THEN clock_timestamp() ELSE cut_at END
  WHERE id = 1;
  UPDATE credentials_roomlane w SET mark = greatest(w.mark, least(t.mark, present)), admitted = w.admitted + t.admitted
  FROM unnest(p_lanes, p_marks, p_admitted) AS t(lane, mark, admitted) WHERE w.lane = t.lane;
  DELETE FROM credentials_roomsecond s USING credentials_roomlane w WHERE w.lane = s.lane AND (s.second + 1 <= w.mark OR p_open);
  DELETE FROM credentials_roomnode WHERE seen_at < clock_timestamp() - interval '1 hour';
  PERFORM pg_notify('tocsin_room', 'moved');
END $$;

CREATE FUNCTION credentials_room_keep(p_token bytea, p_ms bigint, p_nonce bytea, p_lane int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO credentials_roomplace (token_sha256, ms, nonce, lane)
  SELECT t.token_sha256, p_ms, p_nonce, p_lane FROM credentials_live_resettoken t WHERE t.token_sha256 = p_token AND octet_length(p_nonce) = 8
  ON CONFLICT (token_sha256) DO NOTHING;
END $$;

CREATE FUNCTION credentials_room_lane(p_token bytea, p_since timestamptz) RETURNS int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN (SELECT CASE WHEN EXISTS (SELECT FROM credentials_session s WHERE s.account_id = t.account_id AND s.created_at > p_since) THEN 1 ELSE 0 END
          FROM credentials_live_resettoken t WHERE t.token_sha256 = p_token);
END $$;

-- policy.pacer_delay_s, in one statement per key. 1 row by primary key; locks it.
CREATE FUNCTION credentials_pace(p_key bytea, p_at timestamptz, p_burst int, p_every_s float8, p_delay_s_max float8) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  every interval := make_interval(secs => p_every_s);
  bound timestamptz := p_at + make_interval(secs => p_burst * p_every_s + p_delay_s_max);
  due timestamptz;
BEGIN
  IF p_key IS NULL THEN
    RETURN 0;
  END IF;
  INSERT INTO credentials_pacer AS c (key, ready_at) VALUES (p_key, p_at + every)
  ON CONFLICT (key) DO UPDATE SET ready_at = least(greatest(c.ready_at, p_at), bound) + every
  RETURNING c.ready_at - every INTO due;
  RETURN greatest(0, extract(epoch FROM due - p_at) - p_burst * p_every_s);
END $$;

-- The job is found by the queue's partial unique index on its lock. A request that found one waiting already changes nothing of that one.
CREATE FUNCTION credentials_ask_in_turn(p_lookup bytea, p_request uuid, p_at timestamptz, p_address bytea, p_network bytea, p_ms bigint,
  p_nonce bytea, p_lane int) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  delay float8;
BEGIN
  IF octet_length(p_lookup) <> 32 OR octet_length(coalesce(p_address, p_lookup)) <> 32 OR octet_length(coalesce(p_network, p_lookup)) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  delay := greatest(credentials_pace(p_address, p_at, 20, 30, 900), credentials_pace(p_network, p_at, 2000, 0.1, 900));
  PERFORM credentials_ask_reset(p_lookup, p_request, p_at);
  IF delay > 0 OR p_ms IS NOT NULL THEN
    UPDATE procrastinate_jobs SET
      scheduled_at = CASE WHEN delay > 0 THEN p_at + make_interval(secs => delay) ELSE scheduled_at END,
      args = args || CASE WHEN p_ms IS NULL THEN '{}'::jsonb
                          ELSE jsonb_build_object('place', jsonb_build_array(p_ms, encode(p_nonce, 'hex'), p_lane)) END
    WHERE queueing_lock = 'reset:' || encode(p_lookup, 'hex') AND status = 'todo' AND args ->> 'request' = p_request::text;
  END IF;
  IF random() < 0.01 THEN
    DELETE FROM credentials_pacer WHERE key IN
      (SELECT key FROM credentials_pacer WHERE ready_at < p_at - interval '1 hour' LIMIT 1000 FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN delay;
END $$;

-- policy.try_wait_s; a test compares the two. 1 row by primary key; locks it until the caller's transaction ends.
CREATE FUNCTION credentials_reserve_try(p_key bytea, p_at timestamptz) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  t credentials_try;
  since float8;
  wait float8 := 0;
BEGIN
  IF octet_length(p_key) <> 32 THEN
    RAISE EXCEPTION 'the digest of a login has 32 bytes';
  END IF;
  INSERT INTO credentials_try (key, failures, last_at) VALUES (p_key, 0, p_at) ON CONFLICT (key) DO NOTHING;
  SELECT * INTO t FROM credentials_try WHERE key = p_key FOR UPDATE;
  since := greatest(0, extract(epoch FROM p_at - t.last_at));
  IF since >= 86400 THEN
    t.failures := 0;
  ELSIF t.failures >= 100 THEN
    wait := 86400 - since;
  ELSIF t.failures >= 5 THEN
    wait := least(900, power(2, least(t.failures - 5, 20))) - since;
  END IF;
  IF wait > 0 THEN
    RETURN wait;
  END IF;
  UPDATE credentials_try SET failures = t.failures + 1, last_at = p_at WHERE key = p_key;
  IF random() < 0.01 THEN
    DELETE FROM credentials_try WHERE key IN (SELECT key FROM credentials_try WHERE last_at < p_at - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN 0;
END $$;

CREATE FUNCTION credentials_forget_tries(p_key bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_try WHERE key = p_key;
END $$;

-- Whoever spent this link at this instant has shown control of the mailbox: strangers' wrong passwords no longer count.
CREATE FUNCTION credentials_forget_tries_of(p_token bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_try y USING credentials_resettoken t, credentials_account a
  WHERE t.token_sha256 = p_token AND t.used_at = p_at AND a.id = t.account_id AND y.key = a.login_hmac;
END $$;

REVOKE ALL ON FUNCTION credentials_room_report, credentials_room_lead, credentials_room_move, credentials_room_keep, credentials_room_lane,
  credentials_pace, credentials_ask_in_turn, credentials_reserve_try, credentials_forget_tries, credentials_forget_tries_of FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_forget_tries_of, credentials_forget_tries, credentials_reserve_try, credentials_ask_in_turn, credentials_pace,
  credentials_room_lane, credentials_room_keep, credentials_room_move, credentials_room_lead, credentials_room_report;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0040_room")]

    operations = [migrations.RunSQL(KEY, migrations.RunSQL.noop), migrations.RunSQL(FUNCTIONS, UNDO)]
