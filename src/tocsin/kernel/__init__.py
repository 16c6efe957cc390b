"""What every room needs and no room owns: clock, configuration, errors, jobs, local PostgreSQL, private values, sealing, SQL, wiring.

No tables of its own. Imports no room. Adding a file here needs three rooms that use it.
"""
