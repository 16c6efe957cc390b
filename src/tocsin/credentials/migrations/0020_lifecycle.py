"""Widening, the erasure of dead hashes with its ledger, and wishes for another address.

One column of credentials loses its NOT NULL: a change of the catalogue alone, at any size.
"""

import datetime
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('credentials', '0011_classes'),
    ]

    operations = [
        migrations.AddField(
            model_name='cutover',
            name='erased_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='cutover',
            name='override',
            field=models.TextField(default=''),
        ),
        migrations.AddField(
            model_name='cutover',
            name='report',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='cutover',
            name='spared',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.SmallIntegerField(), default=list, size=None),
        ),
        migrations.AlterField(
            model_name='credential',
            name='set_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name='ContactRequest',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('version', models.IntegerField()),
                ('deposit', models.BinaryField()),
                ('token_sha256', models.BinaryField(null=True, unique=True)),
                ('asked_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('confirmed_at', models.DateTimeField(null=True)),
                ('done_at', models.DateTimeField(null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='credentials.account')),
            ],
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.TextField(default='open')),
                ('attempt', models.IntegerField(default=0)),
                ('lease_owner', models.BigIntegerField(null=True)),
                ('lease_until', models.DateTimeField(default=datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))),
                ('fence', models.BigIntegerField(default=0)),
                ('first_account', models.BigIntegerField()),
                ('last_account', models.BigIntegerField()),
                ('erased', models.BigIntegerField(default=0)),
                ('held', models.BigIntegerField(default=0)),
                ('cutover', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='erasures', to='credentials.cutover')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('cutover', 'first_account'), name='credentials_erasure_once'), models.CheckConstraint(condition=models.Q(('state__in', ['open', 'done'])), name='credentials_erasure_state')],
            },
        ),
        migrations.CreateModel(
            name='HeldHashes',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_account', models.BigIntegerField()),
                ('last_account', models.BigIntegerField()),
                ('n', models.BigIntegerField()),
                ('sealed', models.BinaryField()),
                ('at', models.DateTimeField()),
                ('cutover', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='credentials.cutover')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('cutover', 'first_account'), name='credentials_heldhashes_once')],
            },
        ),
    ]
