"""Steering counts what the desk answers. The table holds one row per mailing, so each step is done in an instant."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('surge', '0002_steering'),
    ]

    operations = [
        migrations.AddField(model_name='steering', name='received_before', field=models.BigIntegerField(default=0)),
        migrations.AddField(model_name='steering', name='desk', field=models.JSONField(default=list)),
        migrations.RemoveConstraint(model_name='steering', name='surge_steering_by_known'),
        migrations.AddConstraint(
            model_name='steering',
            constraint=models.CheckConstraint(
                condition=models.Q(('by__in', ['free', 'resets', 'desk', 'deadline'])), name='surge_steering_by_known'
            ),
        ),
    ]
