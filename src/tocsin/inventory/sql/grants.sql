-- The map is loaded on the command line; everybody who scopes or shows an incident reads it. Nobody changes a loaded map.
REVOKE ALL ON inventory_mapversion, inventory_system, inventory_store
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT, INSERT ON inventory_mapversion, inventory_system, inventory_store TO tocsin_operator;
GRANT SELECT ON inventory_mapversion, inventory_system, inventory_store TO tocsin_console, tocsin_worker;
