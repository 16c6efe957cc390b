"""The gate stays closed until a company's own systems have the new password.

A reset on our site gives the account a live password at once, but the shop behind the gate knows only the old one until a connector has
written the new one: opening before that would let the old one in. So an account with a password on its way (outbox: waiting, or failed for
good) is closed.
"""

from django.db import migrations

VIEW = """
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

BEFORE = """
CREATE OR REPLACE VIEW credentials_gate WITH (security_barrier) AS
  SELECT a.id AS account_id, a.subject, p.name AS population,
    e.epoch <= greatest(coalesce(l.epoch, 1), coalesce(c.epoch, 1)) AS open
  FROM credentials_account a
  JOIN credentials_population p ON p.id = a.population_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = 'password'
  LEFT JOIN credentials_lift l ON l.account_id = a.id
  LEFT JOIN credentials_credential c ON c.account_id = a.id AND c.class = 'password';
"""


class Migration(migrations.Migration):

    dependencies = [("credentials", "0070_gate")]

    operations = [migrations.RunSQL(VIEW, BEFORE)]
