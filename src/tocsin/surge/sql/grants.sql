-- Forecasts are made by operators, the console and the steering job; nobody changes one.
REVOKE ALL ON surge_measure FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON surge_measure TO tocsin_operator, tocsin_console, tocsin_worker;
