"""Former contact points, and the freeze that a cutover puts on changing them. Both tables are new and empty."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('subjects', '0002_lean'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContactFreeze',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('until', models.DateTimeField()),
                ('reason', models.TextField()),
                ('at', models.DateTimeField()),
                ('by', models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name='ContactChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.TextField()),
                ('sealed', models.BinaryField(null=True)),
                ('lookup', models.BinaryField(null=True)),
                ('provider', models.TextField(default='')),
                ('changed_at', models.DateTimeField(db_index=True)),
                ('changed_by', models.TextField()),
                ('by', models.TextField()),
                ('subject', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to='subjects.subject')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['email', 'phone', 'verified', 'billing', 'shipping'])), name='subjects_contactchange_kind'), models.CheckConstraint(condition=models.Q(('changed_by__in', ['import', 'customer', 'operator'])), name='subjects_contactchange_by')],
            },
        ),
    ]
