"""The card vault: card numbers in, random tokens out, and a log that proves what was released.

It stands beside Tocsin and imports none of it: own process, own OS user (as root), own PostgreSQL cluster, own keys, own log. The main
side holds tokens and the last four digits; a total loss of the main side yields no card number. Run it as `python -m tocsin_vault`.

    cli, __main__   the commands                           server, client  the two sockets: applications, and the vault's own commands
    engine          every act: one transaction, one leaf   accesslog       the leaves and their log (tocsin_tlog)
    cards           what a card number must be (pure)      keyring         sealing and fingerprints; keys under the key service
    places          folders, OS user, dropping privileges  pg              our own small launcher of PostgreSQL
    port, adapters/ the key service                        sql/            tables and statements

Tables: vault_card vault_key vault_grant vault_access vault_checkpoint.
Terms: a *token* is 16 random bytes; a *fingerprint* HMAC-SHA256 of the number under a key of the vault; a *grant* lets one client have
numbers back for one purpose and bears two approvers' names; none exists until custodians make one.

Promises
  * No card number reaches the database server, a log, a message, a reject file or a traceback: it is sealed before it leaves the process.
  * No number is released before its leaf is durable in the log; a refusal leaves one too.
  * One number has one token, however often it is imported and whoever brings it. Security codes (CVV) are refused, never stored.
  * kill -9 at any moment loses nothing acknowledged; the database server dies with the vault.

GAP: one host gives separation by user, not by kernel: root on this host with the keys in memory is not defended against.
GAP: no command makes a grant yet, and there is no outbound proxy and no canary: releases exist as code and in the tests only.
GAP: one group of requests is committed and signed at a time; 1,500 logged releases a second were measured at 200 clients on two busy
cores, where the aim is 7,000.
GAP: key pages are not locked in memory; swap should be encrypted or off.
"""
