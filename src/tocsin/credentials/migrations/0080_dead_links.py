"""What a link or code that does not work costs its source: its turn at one pacer of its address and one of its network.

  dead_link   counts one more and returns how long the source would have to wait for the next; a live link never asks. Two rows by primary
              key, each locked until the caller's transaction ends
It names its search_path, and nobody may execute it until sql/grants.sql says so.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION credentials_dead_link(p_address bytea, p_network bytea, p_at timestamptz) RETURNS float8
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

REVOKE ALL ON FUNCTION credentials_dead_link FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0071_gate_waits")]

    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION credentials_dead_link;")]
