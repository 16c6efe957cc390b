"""The sending engine: SMTP over non-blocking sockets in one thread, with a journal that outlives the process.

`journal` what was about to be sent and what came back; `replies` the reply parser; `connection` one SMTP dialogue without any I/O;
`engine` sockets, TLS, pace, leases, stop, over one site or many; `probe` a greeting without mail. For direct delivery: `lookup` asks DNS and
HTTPS, `exchangers` decides which hosts may have a domain's mail, `sts` and `dane` what must be true of them. A process sends over many
connections; more cores mean more processes, never threads: RSA signing takes 97 % of the time.
"""
