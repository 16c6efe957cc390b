-- Operators are enrolled from the command line; the console signs people in and takes their signatures.
REVOKE ALL ON staff_operator, staff_approval, staff_signature FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT, UPDATE ON staff_operator TO tocsin_operator;
GRANT SELECT ON staff_operator TO tocsin_console, tocsin_worker;
GRANT UPDATE (last_login, password) ON staff_operator TO tocsin_console;
GRANT SELECT, INSERT ON staff_approval, staff_signature TO tocsin_operator, tocsin_console;
GRANT UPDATE ON staff_approval TO tocsin_operator, tocsin_console;  -- closing, and the row lock of a signature
GRANT SELECT ON staff_approval, staff_signature TO tocsin_worker;
GRANT UPDATE (closed_at) ON staff_approval TO tocsin_worker;
