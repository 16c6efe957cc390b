"""How an event of the public process is recorded: by a function that writes the whole of it, and that no process role may call.

The public process has no right on the table: with one, whoever took it over could put any act of anybody into the log. Only functions of
the owner call this one (`credentials_redeem`), after the fact is done. It makes identifier, canonical JSON, salt and commitment itself, to
the byte as `policy.py` does for everybody else; actor and type are fixed here, `txid` by its default. `body` is canonical JSON (RFC 8785)
that the caller made of numbers.
"""

from django.db import migrations

FUNCTIONS = """
-- HMAC-SHA256 (RFC 2104) under a key of at most one block of 64 bytes.
CREATE FUNCTION evidence_hmac_sha256(p_key bytea, p_message bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  inner_pad bytea := p_key || decode(repeat('00', 64 - octet_length(p_key)), 'hex');
  outer_pad bytea := inner_pad;
BEGIN
  FOR i IN 0..63 LOOP
    outer_pad := set_byte(outer_pad, i, get_byte(inner_pad, i) # 92);
    inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # 54);
  END LOOP;
  RETURN sha256(outer_pad || sha256(inner_pad || p_message));
END $$;

CREATE FUNCTION evidence_record_public(p_type int, p_at timestamptz, p_incident int, p_subject bigint, p_subject_salt bytea, p_body text)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  names CONSTANT jsonb := '{"61": "password_reset"}';
  identifier CONSTANT uuid := gen_random_uuid();
  act_salt CONSTANT bytea := CASE WHEN p_subject IS NULL THEN uuid_send(gen_random_uuid()) END;
  event bytea;
  made bigint;
BEGIN
  IF NOT names ? p_type::text THEN
    RAISE EXCEPTION 'the public process records no event of type %', p_type;
  END IF;
  event := convert_to(format('{"actor":"public","at":"%s","body":%s,"incident":%s,"subject":%s,"type":"%s","uuid":"%s"}',
    to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), p_body, coalesce(p_incident::text, 'null'),
    coalesce(p_subject::text, 'null'), names ->> p_type::text, identifier), 'UTF8');
  INSERT INTO evidence_event (uuid, type, at, actor, incident, subject, event, salt, commitment)
  VALUES (identifier, p_type, p_at, 'public', p_incident, p_subject, event, act_salt,
    sha256(coalesce(act_salt, substring(evidence_hmac_sha256(p_subject_salt, uuid_send(identifier)) FROM 1 FOR 16)) || event))
  RETURNING id INTO made;
  RETURN made;
END $$;

REVOKE ALL ON FUNCTION evidence_hmac_sha256, evidence_record_public FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("evidence", "0002_append_only")]

    operations = [migrations.RunSQL(FUNCTIONS, "DROP FUNCTION evidence_record_public, evidence_hmac_sha256;")]
