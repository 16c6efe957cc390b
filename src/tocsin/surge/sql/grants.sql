-- Forecasts are made by operators, the console and the steering job; nobody changes one. The worker steers.
REVOKE ALL ON surge_measure FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON surge_measure TO tocsin_operator, tocsin_console, tocsin_worker;
REVOKE ALL ON surge_steering FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT ON surge_steering TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT INSERT, UPDATE ON surge_steering TO tocsin_worker;
