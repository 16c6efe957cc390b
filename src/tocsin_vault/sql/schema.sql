-- The vault's tables. Run at every start; each statement does nothing when the thing is there. Instants are microseconds since 1970 (UTC).
-- No table holds a card number, its first digits or a customer: a stolen copy of this database gives tokens and noise.

CREATE TABLE IF NOT EXISTS vault_key (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  purpose     text NOT NULL CHECK (purpose IN ('card', 'fingerprint')),
  kek_uri     text NOT NULL,
  wrapped     bytea,                          -- null only inside the transaction that makes the key: its id is part of the wrapping
  cards       integer NOT NULL DEFAULT 0 CHECK (cards >= 0),
  created_us  bigint NOT NULL,
  retired_us  bigint
);
CREATE UNIQUE INDEX IF NOT EXISTS vault_key_live ON vault_key (purpose) WHERE retired_us IS NULL;

CREATE TABLE IF NOT EXISTS vault_card (
  token        bytea PRIMARY KEY CHECK (octet_length(token) = 16),
  fingerprint  bytea NOT NULL UNIQUE CHECK (octet_length(fingerprint) = 32),
  key          integer NOT NULL REFERENCES vault_key,
  sealed       bytea NOT NULL CHECK (octet_length(sealed) = 48),
  expires      integer NOT NULL CHECK (expires BETWEEN 200001 AND 209912 AND expires % 100 BETWEEN 1 AND 12)  -- year * 100 + month
);

CREATE TABLE IF NOT EXISTS vault_grant (
  id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_uid   bigint NOT NULL,
  purpose      text NOT NULL CHECK (length(purpose) BETWEEN 1 AND 64),
  per_minute   integer NOT NULL CHECK (per_minute > 0),
  per_day      integer NOT NULL CHECK (per_day > 0),
  until_us     bigint NOT NULL,
  approved_by  text[] NOT NULL CHECK (cardinality(approved_by) = 2 AND approved_by[1] <> approved_by[2]
                                      AND array_position(approved_by, NULL) IS NULL)
);

-- One row per leaf of the access log, written in the transaction of its effect; the log is filled up from here after a crash.
CREATE TABLE IF NOT EXISTS vault_access (
  leaf     bigint PRIMARY KEY CHECK (leaf >= 0),
  at_us    bigint NOT NULL,
  op       text NOT NULL CHECK (op IN ('opened', 'imported', 'tokenised', 'released', 'refused', 'sealed', 'unsealed')),
  client   text NOT NULL,
  purpose  text,
  ticket   text,
  token    bytea,
  cards    integer NOT NULL CHECK (cards >= 0),
  event    text NOT NULL,
  salt     bytea NOT NULL CHECK (octet_length(salt) = 16),
  entry    bytea NOT NULL CHECK (octet_length(entry) = 47)
);
-- For the limits of a grant and for counts of releases; releases are rare.
CREATE INDEX IF NOT EXISTS vault_access_released ON vault_access (client, purpose, at_us) WHERE op = 'released';

CREATE TABLE IF NOT EXISTS vault_checkpoint (
  at_us   bigint PRIMARY KEY,
  size    bigint NOT NULL CHECK (size >= 0),
  signed  bytea NOT NULL                      -- the checkpoint with its Ed25519 line
);
