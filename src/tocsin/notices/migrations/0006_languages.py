from django.db import migrations, models
import django.db.models.deletion


class Migration(migrations.Migration):

    dependencies = [
        ('notices', '0005_order_and_waves'),
    ]

    operations = [
        migrations.AddField(model_name='notice', name='languages', field=models.JSONField(default=dict)),
        migrations.AddField(model_name='notice', name='facts', field=models.JSONField(default=dict)),
        migrations.AddField(model_name='notice', name='source', field=models.JSONField(default=dict)),
        migrations.AddField(model_name='variant', name='translation_of', field=models.TextField(default='')),
        migrations.AddField(model_name='variant', name='headed', field=models.BooleanField(default=False)),
        migrations.AddField(model_name='mailing', name='reviews', field=models.JSONField(default=dict)),
        migrations.CreateModel(
            name='Review',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('incident', models.IntegerField()),
                ('locale', models.TextField()),
                ('sha256', models.TextField()),
                ('reviewer', models.TextField()),
                ('approval', models.BigIntegerField(unique=True)),
                ('reviewed_at', models.DateTimeField()),
            ],
            options={'indexes': [models.Index(fields=['incident', 'sha256'], name='notices_review_texts')]},
        ),
        migrations.CreateModel(
            name='TestMail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outbound', models.BigIntegerField(unique=True)),
                ('queued_at', models.DateTimeField()),
                ('queued_by', models.TextField()),
                ('notice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='notices.notice')),
                ('variant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='notices.variant')),
            ],
        ),
    ]
