-- Nobody may read a hash column or a whole table of secrets: reading goes through the live views, and the public process writes through
-- functions (migrations 0002 and 0003). The operator's process imports, arms, commits and plants canaries; the worker makes reset links.
REVOKE ALL ON credentials_population, credentials_epoch, credentials_account, credentials_credential, credentials_session, credentials_resettoken,
  credentials_cutover, credentials_cutoverack, credentials_nodelease, credentials_canary, credentials_import, credentials_reject, credentials_lift, credentials_gate,
  credentials_live_credential, credentials_live_session, credentials_live_resettoken,
  credentials_erasure, credentials_heldhashes, credentials_contactrequest
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
REVOKE ALL ON FUNCTION credentials_open_session, credentials_end_session, credentials_revoked_hash, credentials_redeem, credentials_renew_lease,
  credentials_ack, credentials_leave, credentials_ask_reset, credentials_covered, credentials_dead_hashes, credentials_erase, credentials_unerased,
  credentials_ask_contact, credentials_confirm_contact
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

-- Erasing dead hashes: begun by time (worker) or by two people (operator, console), carried out by the worker through functions. What is
-- copied for a legal hold is readable by nobody but the owner of the database.
GRANT SELECT, INSERT ON credentials_erasure TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT UPDATE (state, attempt, lease_owner, lease_until, fence, erased, held) ON credentials_erasure TO tocsin_worker;
GRANT UPDATE (erasing_at, erased_at) ON credentials_cutover TO tocsin_worker;
GRANT INSERT ON credentials_heldhashes TO tocsin_worker;
GRANT SELECT (id, cutover_id, first_account, last_account, n, at) ON credentials_heldhashes TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT EXECUTE ON FUNCTION credentials_unerased TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT EXECUTE ON FUNCTION credentials_dead_hashes, credentials_erase TO tocsin_worker;

-- Another address of an account: the public process asks and confirms through functions, the worker carries it out.
GRANT EXECUTE ON FUNCTION credentials_ask_contact, credentials_confirm_contact TO tocsin_public;
GRANT SELECT, UPDATE ON credentials_contactrequest TO tocsin_worker;
GRANT UPDATE (login_hmac) ON credentials_account TO tocsin_worker;
GRANT SELECT (account_id) ON credentials_canary TO tocsin_console;  -- how many there are stands in the arm report
