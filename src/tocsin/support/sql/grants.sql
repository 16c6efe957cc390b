-- Workers take mail in; console and operator work cases and release answers; nobody deletes what people wrote, and vetted answers keep their words.
REVOKE ALL ON support_question, support_answer, support_case, support_message, support_reply, support_release, support_cursor,
  support_tally
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT ON support_question, support_answer, support_case, support_message, support_reply, support_release, support_cursor,
  support_tally
  TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT INSERT, UPDATE ON support_case, support_message, support_cursor TO tocsin_worker, tocsin_operator;
GRANT UPDATE ON support_case, support_message TO tocsin_console;
GRANT INSERT ON support_reply TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON support_release TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON support_question TO tocsin_operator;
GRANT INSERT ON support_answer TO tocsin_operator;
GRANT UPDATE (approved_by) ON support_answer TO tocsin_operator, tocsin_console;  -- who stands for it; its words nobody changes
-- The tally is written by triggers as whoever changes a message; who takes mail in also sums it up.
GRANT INSERT ON support_tally TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT DELETE ON support_tally TO tocsin_operator, tocsin_worker;
