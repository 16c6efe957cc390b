"""Determinations of containment: added, never changed, as facts are."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('incidents', '0003_facts_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='Containment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('system', models.TextField()),
                ('map_digest', models.BinaryField()),
                ('statement', models.TextField()),
                ('exhibit', models.TextField(blank=True)),
                ('approval', models.BigIntegerField(unique=True)),
                ('signed_by', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                ('determined_by', models.TextField()),
                ('at', models.DateTimeField()),
                ('incident', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='containments', to='incidents.incident')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('statement', ''), _negated=True), name='incidents_containment_stated')],
            },
        ),
        migrations.RunSQL(
            """
            CREATE TRIGGER incidents_containment_append_only BEFORE UPDATE OR DELETE ON incidents_containment
              FOR EACH ROW EXECUTE FUNCTION incidents_refuse_change();
            """,
            "DROP TRIGGER incidents_containment_append_only ON incidents_containment;",
        ),
    ]
