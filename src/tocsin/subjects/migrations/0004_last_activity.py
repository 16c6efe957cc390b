"""The day somebody last used the service. A nullable column: no row is rewritten; a further import fills it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('subjects', '0003_contact_history'),
    ]

    operations = [
        migrations.AddField(model_name='subject', name='last_active_date', field=models.DateField(null=True)),
    ]
