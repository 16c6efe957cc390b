"""An approval that was used stays used, and what was asked for never changes: a trigger, whoever writes."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("staff", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION staff_approval_closes_once() RETURNS trigger LANGUAGE plpgsql AS $$
              BEGIN
                IF OLD.closed_at IS NOT NULL OR (NEW.act, NEW.request, NEW.digest, NEW.payload) IS DISTINCT FROM (OLD.act, OLD.request, OLD.digest, OLD.payload) THEN
                  RAISE EXCEPTION 'an approval is used once and never changed';
                END IF;
                RETURN NEW;
              END $$;
            CREATE TRIGGER staff_approval_closes_once BEFORE UPDATE ON staff_approval FOR EACH ROW EXECUTE FUNCTION staff_approval_closes_once();
            """,
            "DROP TRIGGER staff_approval_closes_once ON staff_approval; DROP FUNCTION staff_approval_closes_once();",
        ),
    ]
