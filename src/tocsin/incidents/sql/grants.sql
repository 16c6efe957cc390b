-- The command line declares, scopes and advances; the console shows and records facts; workers read whom to tell. Facts are only added.
REVOKE ALL ON incidents_incident, incidents_exposure, incidents_storereach, incidents_cohort, incidents_exposedsubject, incidents_fact,
  incidents_containment FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON incidents_incident, incidents_exposure, incidents_storereach, incidents_cohort, incidents_exposedsubject, incidents_fact
  TO tocsin_operator;
GRANT UPDATE (state, hold) ON incidents_incident TO tocsin_operator, tocsin_console;
GRANT SELECT ON incidents_incident, incidents_exposure, incidents_storereach, incidents_cohort, incidents_exposedsubject, incidents_fact
  TO tocsin_console, tocsin_worker;
GRANT INSERT ON incidents_fact TO tocsin_console;
-- A determination is only added, where two people's signatures are checked; whoever commits a cutover reads it.
GRANT SELECT, INSERT ON incidents_containment TO tocsin_operator, tocsin_console;
GRANT SELECT ON incidents_containment TO tocsin_worker;
