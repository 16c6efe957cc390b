"""What the public process may have recorded through functions of the owner: besides a new password, what happens to ways of signing in.

The function is that of 0003 with more names; what it writes is the same to the byte.
"""

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION evidence_record_public(p_type int, p_at timestamptz, p_incident int, p_subject bigint, p_subject_salt bytea, p_body text)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  names CONSTANT jsonb := '{"61": "password_reset", "110": "token_reused", "111": "factor_added", "112": "factor_removed"}';
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
"""


class Migration(migrations.Migration):

    dependencies = [("evidence", "0004_counts")]

    operations = [migrations.RunSQL(FUNCTION)]
