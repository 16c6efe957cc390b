"""Letters in bundles, returned mail, further addresses, substitute notice. Small tables but `notices_exception` and `notices_letter`, whose
new columns have constant defaults (no rewrite); a letter that was exported before counts as bundled, so that nobody gets it twice.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("notices", "0007_site_pages"),
    ]

    operations = [
        migrations.CreateModel(
            name='Bundle',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('layout', models.TextField()),
                ('letters', models.IntegerField()),
                ('pages', models.IntegerField(default=0)),
                ('sheets', models.IntegerField(default=0)),
                ('duplex', models.BooleanField()),
                ('countries', models.JSONField(default=dict)),
                ('sha256', models.BinaryField(null=True)),
                ('made_at', models.DateTimeField()),
                ('made_by', models.TextField()),
                ('written_at', models.DateTimeField(null=True)),
                ('dissolved_at', models.DateTimeField(null=True)),
                ('reissue', models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name='BundledLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('place', models.IntegerField()),
                ('first_page', models.IntegerField(null=True)),
                ('pages', models.SmallIntegerField(null=True)),
                ('address_mac', models.BinaryField()),
                ('reissue', models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name='Substitute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('place', models.SmallIntegerField()),
                ('subject', models.BigIntegerField()),
                ('why', models.TextField()),
                ('found_at', models.DateTimeField()),
                ('site_sha256', models.BinaryField(null=True)),
                ('noticed_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='letter',
            name='notices_letter_once',
        ),
        migrations.AddField(
            model_name='bounce',
            name='kind',
            field=models.TextField(db_default='bounce'),
        ),
        migrations.AddField(
            model_name='bounce',
            name='rank',
            field=models.SmallIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='letter',
            name='address_mac',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='letter',
            name='attempt',
            field=models.SmallIntegerField(db_default=1),
        ),
        migrations.AddField(
            model_name='letter',
            name='country',
            field=models.TextField(db_default=''),
        ),
        migrations.AddField(
            model_name='letter',
            name='faults',
            field=models.JSONField(db_default=[]),
        ),
        migrations.AddField(
            model_name='letter',
            name='kind',
            field=models.TextField(db_default=''),
        ),
        migrations.AddField(
            model_name='letter',
            name='return_reason',
            field=models.TextField(db_default=''),
        ),
        migrations.AddField(
            model_name='letter',
            name='returned_date',
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name='letter',
            name='state',
            field=models.TextField(db_default='queued'),
        ),
        migrations.AddField(
            model_name='mailing',
            name='retry_soft_days',
            field=models.FloatField(db_default=3.0),
        ),
        migrations.AddField(
            model_name='recipientexception',
            name='rank',
            field=models.SmallIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name='recipientexception',
            name='soft',
            field=models.SmallIntegerField(db_default=0),
        ),
        migrations.AddIndex(
            model_name='bounce',
            index=models.Index(condition=models.Q(('kind', 'bounce'), _negated=True), fields=['batch'], name='notices_bounce_other'),
        ),
        migrations.AddIndex(
            model_name='letter',
            index=models.Index(fields=['mailing', 'state', 'id'], name='notices_letter_state_ix'),
        ),
        migrations.AddIndex(
            model_name='letter',
            index=models.Index(fields=['batch', 'place'], name='notices_letter_place'),
        ),
        migrations.AddConstraint(
            model_name='bounce',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['bounce', 'complaint', 'auto'])), name='notices_bounce_kind'),
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.UniqueConstraint(fields=('mailing', 'subject', 'attempt'), name='notices_letter_once'),
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ('queued', 'bundled', 'rejected', 'returned'))), name='notices_letter_state'),
        ),
        migrations.AddConstraint(
            model_name='letter',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'returned'), _negated=True), ('returned_date__isnull', False), _connector='OR'), name='notices_letter_returned'),
        ),
        migrations.AddField(
            model_name='bundle',
            name='mailing',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='notices.mailing'),
        ),
        migrations.AddField(
            model_name='bundledletter',
            name='bundle',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='notices.bundle'),
        ),
        migrations.AddField(
            model_name='bundledletter',
            name='letter',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='notices.letter'),
        ),
        migrations.AddField(
            model_name='substitute',
            name='batch',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='notices.batch'),
        ),
        migrations.AddField(
            model_name='substitute',
            name='mailing',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='notices.mailing'),
        ),
        migrations.AddIndex(
            model_name='bundle',
            index=models.Index(fields=['mailing', 'id'], name='notices_bundle_mailing'),
        ),
        migrations.AddConstraint(
            model_name='bundle',
            constraint=models.CheckConstraint(condition=models.Q(('layout__in', ['us', 'din'])), name='notices_bundle_layout'),
        ),
        migrations.AddConstraint(
            model_name='bundle',
            constraint=models.CheckConstraint(condition=models.Q(('letters__gte', 1)), name='notices_bundle_letters'),
        ),
        migrations.AddConstraint(
            model_name='bundledletter',
            constraint=models.UniqueConstraint(fields=('bundle', 'place'), name='notices_bundledletter_place'),
        ),
        migrations.AddConstraint(
            model_name='bundledletter',
            constraint=models.UniqueConstraint(condition=models.Q(('reissue', False)), fields=('letter',), name='notices_bundledletter_once'),
        ),
        migrations.AddIndex(
            model_name='substitute',
            index=models.Index(condition=models.Q(('ended_at', None)), fields=['mailing', 'id'], name='notices_substitute_mailing'),
        ),
        migrations.AddConstraint(
            model_name='substitute',
            constraint=models.UniqueConstraint(fields=('batch', 'place'), name='notices_substitute_once'),
        ),
        migrations.AddConstraint(
            model_name='substitute',
            constraint=models.CheckConstraint(condition=models.Q(('why__in', ['no_address', 'bad_address', 'returned'])), name='notices_substitute_why'),
        ),
        migrations.RunSQL("UPDATE notices_letter SET state = 'bundled' WHERE exported_at IS NOT NULL", migrations.RunSQL.noop),
    ]
