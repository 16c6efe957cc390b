-- Whoever answers people queues single mails; only workers send them. Intake can put mail in and see what it needs to know a repeat, and
-- cannot read what it put in. Nobody changes or deletes mail that came in.
REVOKE ALL ON mail_outbound, mail_inbound, mail_suppression, mail_receiver
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
GRANT SELECT, INSERT ON mail_outbound TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT UPDATE ON mail_outbound TO tocsin_worker;
GRANT SELECT ON mail_inbound TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT INSERT ON mail_inbound TO tocsin_intake, tocsin_operator, tocsin_worker;
GRANT SELECT (id, digest) ON mail_inbound TO tocsin_intake;
-- The api process takes in what a relay tells of our mail, as intake takes in mail: it puts in and sees repeats, and reads nothing.
GRANT INSERT ON mail_inbound TO tocsin_api;
GRANT SELECT (id, digest) ON mail_inbound TO tocsin_api;
GRANT SELECT, INSERT, DELETE ON mail_suppression TO tocsin_operator, tocsin_worker;
GRANT SELECT ON mail_suppression TO tocsin_console;
-- What receivers allow: senders write it, whoever looks at a mailing reads it.
GRANT SELECT, INSERT, UPDATE ON mail_receiver TO tocsin_worker;
GRANT SELECT ON mail_receiver TO tocsin_operator, tocsin_console;
