-- Make room for the next batch, also where the caller's own transaction goes on.
DROP TABLE credentials_incoming
