"""A password on its way closes the gate only where a cutover has ended the older one.

Before the first cutover of its cohort (epoch 1) the password that the shop knows is good, so nobody waits for the new one to arrive. From
then on the gate is closed while it is on its way, whether the shop's own gate has fallen by then or not.
"""

from django.db import migrations

VIEW = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1))
      AND (e.epoch = 1 OR NOT EXISTS (
        SELECT FROM credentials_outbox o WHERE o.account_id = a.id AND o.state IN ('waiting', 'failed') AND o.epoch >= e.epoch)) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
"""

BEFORE = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1))
      AND NOT EXISTS (SELECT FROM credentials_outbox o WHERE o.account_id = a.id AND o.state IN ('waiting', 'failed') AND o.epoch >= e.epoch) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0080_dead_links")]

    operations = [migrations.RunSQL(VIEW, BEFORE)]
