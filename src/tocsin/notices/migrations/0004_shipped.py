import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notices", "0003_lanes_listen"),
    ]

    operations = [
        migrations.CreateModel(
            name="Shipped",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("attempt", models.IntegerField()),
                ("ahead", models.IntegerField()),
                ("records", models.BinaryField()),
                ("at", models.DateTimeField()),
                (
                    "batch",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="notices.batch"),
                ),
            ],
        ),
    ]
