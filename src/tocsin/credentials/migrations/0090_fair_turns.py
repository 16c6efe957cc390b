"""Turns that a stranger cannot spoil: for letters asked for, places in the waiting room, and tries at the log-in.

  ask_in_turn           as in 0041. If a request for this address waits already, that one comes no later than this one would, and has the
                        earlier place of the two: a stranger who is slowed cannot hold the owner's letter back. A place admits at most two
                        addresses (people mistype): -1 if this one would be the third, and nothing was enqueued
  ask_letter_in_turn    ask_letter of 0031, at the same pace per address and network
  ask_affected_in_turn  ask_affected of 0031, likewise
  reserve_try_from      reserve_try of 0041 for a login and where the try comes from; all places together have the looser limit of 100 in a
                        row, from which trusted and known places are free
  forget_tries_from     after a right password: the tries of the login altogether and from here are forgotten, and here is known from now on
  forget_tries_of       as in 0041, for every place from which somebody tried
A key of a place is the 32 bytes of the login's digest and 32 of a digest of login and place, so that those of a login are one range.
"""

from django.db import migrations, models

SQL = """
-- 1 row by the queue's partial unique index on its lock. A job that has run and waits for its place's turn is moved by an earlier place only.
CREATE FUNCTION credentials_settle_turn(p_lock text, p_request uuid, p_at timestamptz, p_delay float8, p_place jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  UPDATE procrastinate_jobs j SET
    scheduled_at = CASE
      WHEN j.args ->> 'request' = p_request::text THEN CASE WHEN p_delay > 0 THEN p_at + make_interval(secs => p_delay) END
      WHEN j.attempts = 0 OR (p_place ->> 0)::bigint < (j.args -> 'place' ->> 0)::bigint
        THEN CASE WHEN p_delay > 0 AND j.scheduled_at IS NOT NULL THEN least(j.scheduled_at, p_at + make_interval(secs => p_delay)) END
      ELSE j.scheduled_at END,
    args = CASE
      WHEN p_place IS NULL THEN j.args
      WHEN j.args ->> 'request' = p_request::text OR (p_place ->> 0)::bigint < (j.args -> 'place' ->> 0)::bigint
        THEN j.args || jsonb_build_object('place', p_place)
      ELSE j.args END
  WHERE j.queueing_lock = p_lock AND j.status = 'todo';
$$;

CREATE FUNCTION credentials_turn_delay(p_address bytea, p_network bytea, p_at timestamptz) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  delay float8;
BEGIN
  IF octet_length(p_address) <> 32 OR octet_length(p_network) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  delay := greatest(credentials_pace(p_address, p_at, 20, 30, 900), credentials_pace(p_network, p_at, 2000, 0.1, 900));
  IF random() < 0.01 THEN
    DELETE FROM credentials_pacer WHERE key IN
      (SELECT key FROM credentials_pacer WHERE ready_at < p_at - interval '1 hour' LIMIT 1000 FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN delay;
END $$;

DROP FUNCTION credentials_ask_in_turn;
CREATE FUNCTION credentials_ask_in_turn(p_lookup bytea, p_request uuid, p_at timestamptz, p_address bytea, p_network bytea, p_ms bigint,
  p_nonce bytea, p_lane int, p_bind bool) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  delay float8;
BEGIN
  IF octet_length(p_lookup) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  IF p_ms IS NOT NULL AND p_bind THEN
    IF octet_length(p_nonce) <> 8 THEN
      RAISE EXCEPTION 'the nonce of a place has 8 bytes';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('tocsin place ' || encode(p_nonce, 'hex'), p_ms));
    IF (SELECT count(*) FROM credentials_roomuse u WHERE u.ms = p_ms AND u.nonce = p_nonce AND u.login <> p_lookup) >= 2 THEN
      RETURN -1;
    END IF;
    INSERT INTO credentials_roomuse (ms, nonce, login) VALUES (p_ms, p_nonce, p_lookup) ON CONFLICT DO NOTHING;
    IF random() < 0.01 THEN
      DELETE FROM credentials_roomuse WHERE (ms, nonce, login) IN (SELECT ms, nonce, login FROM credentials_roomuse
        WHERE ms < (extract(epoch FROM p_at) - 31 * 86400) * 1000 LIMIT 1000 FOR UPDATE SKIP LOCKED);
    END IF;
  END IF;
  delay := credentials_turn_delay(p_address, p_network, p_at);
  PERFORM credentials_ask_reset(p_lookup, p_request, p_at);
  PERFORM credentials_settle_turn('reset:' || encode(p_lookup, 'hex'), p_request, p_at, delay,
    CASE WHEN p_ms IS NOT NULL THEN jsonb_build_array(p_ms, encode(p_nonce, 'hex'), p_lane) END);
  RETURN delay;
END $$;

CREATE FUNCTION credentials_ask_letter_in_turn(p_lookup bytea, p_postcode bytea, p_request uuid, p_at timestamptz, p_address bytea,
  p_network bytea) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  delay float8 := credentials_turn_delay(p_address, p_network, p_at);
BEGIN
  PERFORM credentials_ask_letter(p_lookup, p_postcode, p_request);
  PERFORM credentials_settle_turn('letter:' || encode(p_lookup, 'hex'), p_request, p_at, delay, NULL);
  RETURN delay;
END $$;

CREATE FUNCTION credentials_ask_affected_in_turn(p_lookup bytea, p_request uuid, p_at timestamptz, p_address bytea, p_network bytea)
  RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  delay float8 := credentials_turn_delay(p_address, p_network, p_at);
BEGIN
  PERFORM credentials_ask_affected(p_lookup, p_request);
  PERFORM credentials_settle_turn('affected:' || encode(p_lookup, 'hex'), p_request, p_at, delay, NULL);
  RETURN delay;
END $$;

-- policy.try_wait_s with TRIES_MAX_HERE for the place, and TRIES_MAX for all places together. 2 rows by primary key, the login's first; locks
-- them until the caller's transaction ends.
CREATE FUNCTION credentials_reserve_try_from(p_login bytea, p_from bytea, p_trusted bool, p_at timestamptz) RETURNS float8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  overall credentials_try;
  here credentials_try;
  since float8;
  wait float8 := 0;
BEGIN
  IF octet_length(p_login) <> 32 OR octet_length(p_from) <> 64 OR substring(p_from FOR 32) <> p_login THEN
    RAISE EXCEPTION 'the digest of a login has 32 bytes, that of where it comes from 64 that begin with them';
  END IF;
  INSERT INTO credentials_try (key, failures, last_at) VALUES (p_login, 0, p_at), (p_from, 0, p_at) ON CONFLICT (key) DO NOTHING;
  SELECT * INTO overall FROM credentials_try WHERE key = p_login FOR UPDATE;
  SELECT * INTO here FROM credentials_try WHERE key = p_from FOR UPDATE;
  IF p_at - overall.last_at >= interval '1 day' THEN
    overall.failures := 0;
  END IF;
  since := greatest(0, extract(epoch FROM p_at - here.last_at));
  IF since >= 86400 THEN
    here.failures := 0;
  ELSIF here.failures >= 25 THEN
    wait := 86400 - since;
  ELSIF here.failures >= 5 THEN
    wait := least(900, power(2, least(here.failures - 5, 20))) - since;
  END IF;
  IF overall.failures >= 100 AND NOT p_trusted AND NOT EXISTS
    (SELECT FROM credentials_knownplace k WHERE k.key = p_from AND k.seen_at > p_at - interval '90 days') THEN
    wait := greatest(wait, 86400 - greatest(0, extract(epoch FROM p_at - overall.last_at)));
  END IF;
  IF wait > 0 THEN
    RETURN wait;
  END IF;
  UPDATE credentials_try SET failures = here.failures + 1, last_at = p_at WHERE key = p_from;
  UPDATE credentials_try SET failures = overall.failures + 1, last_at = p_at WHERE key = p_login AND overall.failures < 100;
  IF random() < 0.01 THEN
    DELETE FROM credentials_try WHERE key IN (SELECT key FROM credentials_try WHERE last_at < p_at - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED);
    DELETE FROM credentials_knownplace WHERE key IN
      (SELECT key FROM credentials_knownplace WHERE seen_at < p_at - interval '90 days' LIMIT 1000 FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN 0;
END $$;

CREATE FUNCTION credentials_forget_tries_from(p_login bytea, p_from bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_try WHERE key = p_login;
  DELETE FROM credentials_try WHERE key = p_from;
  INSERT INTO credentials_knownplace AS k (key, seen_at) VALUES (p_from, p_at)
  ON CONFLICT (key) DO UPDATE SET seen_at = excluded.seen_at WHERE k.seen_at < excluded.seen_at - interval '1 day';
END $$;

CREATE OR REPLACE FUNCTION credentials_forget_tries_of(p_token bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM credentials_try y USING credentials_resettoken t, credentials_account a
  WHERE t.token_sha256 = p_token AND t.used_at = p_at AND a.id = t.account_id
    AND y.key >= a.login_hmac AND y.key <= a.login_hmac || decode(repeat('ff', 32), 'hex');
END $$;

REVOKE ALL ON FUNCTION credentials_settle_turn, credentials_turn_delay, credentials_ask_in_turn, credentials_ask_letter_in_turn,
  credentials_ask_affected_in_turn, credentials_reserve_try_from, credentials_forget_tries_from FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0082_gate_delivered")]

    operations = [
        migrations.CreateModel(
            name="KnownPlace",
            fields=[
                ("key", models.BinaryField(primary_key=True, serialize=False)),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="RoomUse",
            fields=[
                ("pk", models.CompositePrimaryKey("ms", "nonce", "login", blank=True, editable=False, primary_key=True, serialize=False)),
                ("ms", models.BigIntegerField()),
                ("nonce", models.BinaryField()),
                ("login", models.BinaryField()),
            ],
        ),
        migrations.RunSQL(SQL),
    ]
