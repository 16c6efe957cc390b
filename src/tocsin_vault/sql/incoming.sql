-- One import batch on its way in (see take_in.sql); lives as long as the connection.
CREATE TEMP TABLE incoming (
  n            integer NOT NULL,
  token        bytea NOT NULL,
  fingerprint  bytea NOT NULL,
  key          integer NOT NULL,
  sealed       bytea NOT NULL,
  expires      integer NOT NULL
);
