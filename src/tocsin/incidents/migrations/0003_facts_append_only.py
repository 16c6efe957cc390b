"""Facts are added, never changed: a trigger forbids it, the owner's own hand included."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("incidents", "0002_exposure_details")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION incidents_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
              BEGIN RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME; END $$;
            CREATE TRIGGER incidents_fact_append_only BEFORE UPDATE OR DELETE ON incidents_fact
              FOR EACH ROW EXECUTE FUNCTION incidents_refuse_change();
            """,
            """
            DROP TRIGGER incidents_fact_append_only ON incidents_fact;
            DROP FUNCTION incidents_refuse_change();
            """,
        ),
    ]
