"""What the public site may ask for besides: a code by post, and "was I affected?". Each only enqueues, the same for every address.

  ask_reset      as in 0003, into the queue `urgent`: a mailing and the desk's work must not stand before it
  ask_letter     enqueues `credentials.tasks.ask_letter` for the digests of an address and of a postal code
  ask_affected   enqueues `credentials.tasks.send_affected` for the digest of an address
The view shows an answer to whoever holds its token. A trigger ends what other links and codes an account has when one was used: whoever
asked for a letter and then found the mail must not leave a good code in the post.
"""

from django.db import migrations

SQL = """
CREATE OR REPLACE FUNCTION credentials_ask_reset(p_lookup bytea, p_request uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF octet_length(p_lookup) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
  VALUES ('urgent', 'credentials.tasks.send_reset', 20, 'reset:' || encode(p_lookup, 'hex'),
    jsonb_build_object('lookup', encode(p_lookup, 'hex'), 'request', p_request::text, 'asked_us', trunc(extract(epoch FROM p_at) * 1000000)::bigint))
  ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;

CREATE FUNCTION credentials_ask_letter(p_lookup bytea, p_postcode bytea, p_request uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF octet_length(p_lookup) <> 32 OR octet_length(p_postcode) <> 32 THEN
    RAISE EXCEPTION 'the digests of an address and of a postal code have 32 bytes each';
  END IF;
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
  VALUES ('general', 'credentials.tasks.ask_letter', 5, 'letter:' || encode(p_lookup, 'hex'),
    jsonb_build_object('lookup', encode(p_lookup, 'hex'), 'postcode', encode(p_postcode, 'hex'), 'request', p_request::text))
  ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;

CREATE FUNCTION credentials_ask_affected(p_lookup bytea, p_request uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF octet_length(p_lookup) <> 32 THEN
    RAISE EXCEPTION 'the digest of an address has 32 bytes';
  END IF;
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
  VALUES ('urgent', 'credentials.tasks.send_affected', 10, 'affected:' || encode(p_lookup, 'hex'),
    jsonb_build_object('lookup', encode(p_lookup, 'hex'), 'request', p_request::text))
  ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING;
END $$;

REVOKE ALL ON FUNCTION credentials_ask_letter, credentials_ask_affected FROM PUBLIC;

CREATE VIEW credentials_live_affectedanswer WITH (security_barrier) AS
  SELECT token_sha256, answer, created_at, expires_at FROM credentials_affectedanswer WHERE replaced_at IS NULL;

CREATE FUNCTION credentials_end_other_links() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE credentials_resettoken SET revoked_at = NEW.used_at
  WHERE account_id = NEW.account_id AND used_at IS NULL AND revoked_at IS NULL AND token_sha256 <> NEW.token_sha256;
  RETURN NULL;
END $$;

CREATE TRIGGER credentials_resettoken_used AFTER UPDATE OF used_at ON credentials_resettoken FOR EACH ROW
WHEN (OLD.used_at IS NULL AND NEW.used_at IS NOT NULL) EXECUTE FUNCTION credentials_end_other_links();
REVOKE ALL ON FUNCTION credentials_end_other_links FROM PUBLIC;
"""

UNDO = """
DROP TRIGGER credentials_resettoken_used ON credentials_resettoken;
DROP FUNCTION credentials_end_other_links;
DROP VIEW credentials_live_affectedanswer;
DROP FUNCTION credentials_ask_affected, credentials_ask_letter;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0030_site")]

    operations = [migrations.RunSQL(SQL, UNDO)]
