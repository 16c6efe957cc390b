-- Nobody may read a hash column or a whole table of secrets: reading goes through the live views, and the public process writes through
-- functions (migrations 0002 and 0003). The operator's process imports, arms, commits and plants canaries; the worker makes reset links.
REVOKE ALL ON credentials_population, credentials_epoch, credentials_account, credentials_credential, credentials_session, credentials_resettoken,
  credentials_cutover, credentials_cutoverack, credentials_nodelease, credentials_canary, credentials_import, credentials_reject, credentials_lift, credentials_gate,
  credentials_letterrequest, credentials_affectedanswer, credentials_live_affectedanswer,
  credentials_live_credential, credentials_live_session, credentials_live_resettoken
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
REVOKE ALL ON FUNCTION credentials_open_session, credentials_end_session, credentials_revoked_hash, credentials_redeem, credentials_renew_lease,
  credentials_ack, credentials_leave, credentials_ask_reset, credentials_ask_letter, credentials_ask_affected
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;

-- Letting people in and through: the public process, and the operator's for its canaries.
GRANT SELECT ON credentials_live_credential, credentials_live_session, credentials_live_resettoken TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_open_session, credentials_end_session TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_revoked_hash, credentials_redeem, credentials_renew_lease, credentials_ack, credentials_leave,
  credentials_ask_reset TO tocsin_public;

-- The state of the cutover holds no secret.
GRANT SELECT ON credentials_population, credentials_epoch, credentials_cutover TO tocsin_operator, tocsin_console, tocsin_public, tocsin_worker;
GRANT SELECT ON credentials_cutoverack, credentials_nodelease TO tocsin_operator, tocsin_console;
GRANT SELECT (account_id, class, epoch, version, set_at) ON credentials_credential TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT (account_id, epoch, version, created_at) ON credentials_session TO tocsin_operator, tocsin_console;
GRANT SELECT (account_id, epoch, created_at, expires_at, used_at, revoked_at) ON credentials_resettoken TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT ON credentials_account TO tocsin_operator, tocsin_console, tocsin_worker;

-- Arm, commit, abort, import, canaries.
GRANT INSERT, UPDATE ON credentials_population, credentials_epoch, credentials_cutover TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON credentials_account TO tocsin_operator;
GRANT INSERT ON credentials_credential, credentials_resettoken TO tocsin_operator;
GRANT UPDATE (hash, set_at) ON credentials_credential TO tocsin_operator;
GRANT SELECT, INSERT, UPDATE ON credentials_canary, credentials_import TO tocsin_operator;
GRANT SELECT, INSERT ON credentials_reject TO tocsin_operator;

-- Reset links are made where the mail is made.
GRANT SELECT (request), INSERT, DELETE ON credentials_resettoken TO tocsin_worker;
GRANT UPDATE (revoked_at) ON credentials_resettoken TO tocsin_worker;
GRANT UPDATE (cohort) ON credentials_account TO tocsin_worker;  -- for the row lock only: one reset link per account at a time

-- Who is through the gate, and letting people through whose new password lives in a company's own system.
GRANT SELECT ON credentials_gate TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT, INSERT, UPDATE ON credentials_lift TO tocsin_operator, tocsin_worker;

-- Links by mail start to live when the relay took them; codes by post are made where they are printed; answers to "was I affected?" are made
-- by the worker and read by their token alone.
GRANT SELECT (outbound, handed_over_at, channel), UPDATE (expires_at, outbound, handed_over_at) ON credentials_resettoken TO tocsin_worker;
GRANT SELECT (request, channel), UPDATE (channel, revoked_at) ON credentials_resettoken TO tocsin_operator;
GRANT SELECT, INSERT ON credentials_letterrequest TO tocsin_worker;
GRANT SELECT, UPDATE ON credentials_letterrequest TO tocsin_operator;
GRANT SELECT ON credentials_letterrequest TO tocsin_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials_affectedanswer TO tocsin_worker;
GRANT SELECT ON credentials_live_affectedanswer TO tocsin_public;
GRANT EXECUTE ON FUNCTION credentials_ask_letter, credentials_ask_affected TO tocsin_public;
