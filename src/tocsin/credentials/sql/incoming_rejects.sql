-- Keep where and why a line was not taken; nothing of what stood there. Up to 50,000 rows.
INSERT INTO credentials_reject (import_id, line, field, reason)
SELECT %(run)s, line, fault_field, fault FROM credentials_incoming WHERE fault IS NOT NULL
