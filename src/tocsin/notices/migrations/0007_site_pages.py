from django.db import migrations, models
import django.db.models.deletion


class Migration(migrations.Migration):

    dependencies = [
        ('notices', '0006_languages'),
    ]

    operations = [
        migrations.AddField(model_name='notice', name='faq', field=models.JSONField(default=list)),
        migrations.AddField(model_name='notice', name='statements', field=models.JSONField(default=list)),
        migrations.AddField(model_name='sitepublication', name='facts', field=models.JSONField(default=dict)),
        migrations.CreateModel(
            name='PagesWritten',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('folder', models.TextField()),
                ('pages', models.JSONField()),
                ('written_at', models.DateTimeField()),
                ('written_by', models.TextField()),
                ('notice', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='notices.notice')),
            ],
            options={'db_table': 'notices_pageswritten'},
        ),
        migrations.CreateModel(
            name='PagesSeen',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.TextField()),
                ('wrong', models.JSONField(default=dict)),
                ('seen_at', models.DateTimeField()),
                ('seen_by', models.TextField()),
                ('written', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='notices.pageswritten')),
            ],
            options={
                'db_table': 'notices_pagesseen',
                'indexes': [models.Index(fields=['written', 'url', 'seen_at'], name='notices_pagesseen_at')],
            },
        ),
    ]
