-- Tokens of one import batch, in the order of the batch, and whether each card is new. Uses the unique index on fingerprint.
SELECT c.token, c.token = i.token AS is_new
FROM incoming i JOIN vault_card c USING (fingerprint)
ORDER BY i.n;
