-- The digests of the keys that stand. At most 200 rows; scans a table of that size.
SELECT key_sha256 FROM credentials_gate_keys()
