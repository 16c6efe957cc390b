-- The version of the epochs now; if it is the one the node's board has, cutovers up to it are acknowledged (function of migration 0070).
SELECT credentials_gate_ack(%(node)s, %(seen)s)
