"""What each receiver allows us, over everything sent. A new table, and a column with a constant default: no row is rewritten.

Size assumption of the index: single mails that are not ended, some hundred thousand at most.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mail', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Receiver',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.TextField()),
                ('receiver', models.TextField()),
                ('memory', models.JSONField(default=dict)),
                ('held_rate_per_s', models.FloatField(null=True)),
                ('held_until', models.DateTimeField(null=True)),
                ('tokens', models.FloatField(default=0)),
                ('refilled_at', models.DateTimeField(auto_now_add=True)),
                ('first_used_at', models.DateTimeField(null=True)),
                ('day', models.DateField(null=True)),
                ('sent_of_day', models.BigIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('source', 'receiver'), name='mail_receiver_once')],
            },
        ),
        migrations.AddField(model_name='outbound', name='receiver', field=models.TextField(default='')),
        migrations.AddIndex(
            model_name='outbound',
            index=models.Index(condition=models.Q(('state', 'open')), fields=['lease_until'], name='mail_outbound_leased'),
        ),
    ]
