"""The transaction of each event, for the sequencer's safe horizon; and triggers that forbid every change, the owner's included."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("evidence", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE evidence_event ADD COLUMN txid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
            CREATE INDEX evidence_event_txid ON evidence_event (txid, id);
            CREATE FUNCTION evidence_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
              BEGIN RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME; END $$;
            CREATE TRIGGER evidence_event_append_only BEFORE UPDATE OR DELETE ON evidence_event
              FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
            CREATE TRIGGER evidence_batch_append_only BEFORE UPDATE OR DELETE ON evidence_batch
              FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
            CREATE TRIGGER evidence_head_append_only BEFORE UPDATE OR DELETE ON evidence_head
              FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
            CREATE TRIGGER evidence_checkpoint_append_only BEFORE UPDATE OR DELETE ON evidence_checkpoint
              FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
            """,
            """
            DROP TRIGGER evidence_checkpoint_append_only ON evidence_checkpoint;
            DROP TRIGGER evidence_head_append_only ON evidence_head;
            DROP TRIGGER evidence_batch_append_only ON evidence_batch;
            DROP TRIGGER evidence_event_append_only ON evidence_event;
            DROP FUNCTION evidence_refuse_change();
            ALTER TABLE evidence_event DROP COLUMN txid;
            """,
        ),
    ]
