"""Inbound mail: tolerant MIME, and what a mail is: a person's message, a failure report, a complaint, a machine's answer.

`mime` parts and text out of any bytes; `reason` what a reply or diagnostic means; `dsn` reports with machine-readable parts (RFC 3464,
RFC 5965);
`notice` failure notices in prose; `kind` puts them together. Nothing here raises on any input, and everything has a limit.
"""
