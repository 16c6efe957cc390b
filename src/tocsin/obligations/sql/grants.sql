-- Operators and the console assess, answer and close; workers read (ordering gates of a mailing) and assess again when facts change.
-- Nobody deletes, and what was assessed, answered or determined is never changed.
REVOKE ALL ON obligations_assessment, obligations_obligation, obligations_answer, obligations_determination
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON obligations_assessment, obligations_answer, obligations_determination TO tocsin_operator, tocsin_console;
GRANT SELECT, INSERT, UPDATE ON obligations_obligation TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT, INSERT ON obligations_assessment TO tocsin_worker;
GRANT SELECT ON obligations_answer, obligations_determination TO tocsin_worker;
