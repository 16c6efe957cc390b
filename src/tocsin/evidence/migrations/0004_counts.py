"""Running counts per type and incident, written with each head. An estate that has a head already gets the counts of what it covers."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("evidence", "0003_record_public")]

    operations = [
        migrations.CreateModel(
            name="Count",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("size", models.BigIntegerField()),
                ("type", models.SmallIntegerField()),
                ("incident", models.IntegerField()),
                ("of_incident", models.BigIntegerField()),
                ("of_type", models.BigIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("type", "incident", "size"), name="evidence_count_incident")],
                "indexes": [models.Index(fields=["type", "size"], name="evidence_count_type")],
            },
        ),
        migrations.RunSQL(
            """
            CREATE TRIGGER evidence_count_append_only BEFORE UPDATE OR DELETE ON evidence_count
              FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
            INSERT INTO evidence_count (size, type, incident, of_incident, of_type)
            SELECT h.size, e.type, coalesce(e.incident, 0), count(*), sum(count(*)) OVER (PARTITION BY e.type)
            FROM (SELECT size, txid_to FROM evidence_head ORDER BY size DESC LIMIT 1) h
            JOIN evidence_event e ON e.txid < h.txid_to
            GROUP BY h.size, e.type, coalesce(e.incident, 0);
            """,
            "DROP TRIGGER evidence_count_append_only ON evidence_count;",
        ),
    ]
