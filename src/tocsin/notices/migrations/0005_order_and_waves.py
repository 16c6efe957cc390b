"""Gates of the law before a mailing, the end that two people allow, waves, why a lane is held. Columns with constant defaults: no row is rewritten."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notices', '0004_shipped'),
    ]

    operations = [
        migrations.AddField(model_name='mailing', name='late_until', field=models.DateTimeField(null=True)),
        migrations.AddField(model_name='mailing', name='waves', field=models.BooleanField(default=False)),
        migrations.AddField(model_name='mailing', name='gates', field=models.JSONField(default=list)),
        migrations.AddField(model_name='mailing', name='overridden', field=models.JSONField(default=list)),
        migrations.AddField(model_name='lane', name='held_what', field=models.TextField(default='')),
        migrations.AddField(model_name='lane', name='held_why', field=models.TextField(default='')),
        migrations.AddField(model_name='batch', name='locked', field=models.BigIntegerField(default=0)),
    ]
