-- Nobody may read a hash column or a whole table of secrets: reading goes through the live views, and the public process writes through
-- functions (migrations 0002 and 0003). The operator's process imports, arms, commits and plants canaries; the worker makes reset links.
REVOKE ALL ON credentials_population, credentials_epoch, credentials_account, credentials_credential, credentials_session, credentials_resettoken,
  credentials_cutover, credentials_cutoverack, credentials_nodelease, credentials_canary, credentials_import, credentials_reject, credentials_lift, credentials_gate,
  credentials_live_credential, credentials_live_session, credentials_live_resettoken
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_room, credentials_roomlane, credentials_roomsecond, credentials_roomnode, credentials_roomlimit, credentials_roomplace,
  credentials_try, credentials_pacer, credentials_roomuse, credentials_knownplace
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_connectorsecret, credentials_target, credentials_plantedcanary, credentials_outbox
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_apikey, credentials_gate_open FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_bearer, credentials_factor, credentials_steptries, credentials_live_bearer, credentials_live_factor
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_open_session, credentials_end_session, credentials_revoked_hash, credentials_redeem, credentials_renew_lease,
  credentials_ack, credentials_leave, credentials_ask_reset
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_gate_ask, credentials_gate_ack, credentials_gate_keys
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_issue_bearer, credentials_rotate_bearer, credentials_end_bearer, credentials_revoke_bearer, credentials_end_others,
  credentials_touch_bearer, credentials_fresh_account, credentials_factor_event, credentials_add_factor, credentials_put_codes,
  credentials_remove_factor, credentials_factor_secret, credentials_factor_ended, credentials_passkey, credentials_use_factor, credentials_try_step
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_redeem_to FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_room_report, credentials_room_lead, credentials_room_move, credentials_room_keep, credentials_room_lane,
  credentials_pace, credentials_ask_in_turn, credentials_reserve_try, credentials_forget_tries, credentials_forget_tries_of
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_raised FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_own_node, credentials_raise_epochs, credentials_restore_epochs, credentials_seal_epochs, credentials_open_population,
  credentials_new_cohort
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_dead_link FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_erasure, credentials_heldhashes, credentials_contactrequest
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_covered, credentials_dead_hashes, credentials_erase, credentials_unerased, credentials_ask_contact, credentials_confirm_contact
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON credentials_letterrequest, credentials_affectedanswer, credentials_live_affectedanswer
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_settle_turn, credentials_turn_delay, credentials_ask_letter_in_turn, credentials_ask_affected_in_turn,
  credentials_reserve_try_from, credentials_forget_tries_from
  FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;
REVOKE ALL ON FUNCTION credentials_ask_letter, credentials_ask_affected FROM PUBLIC, tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer, tocsin_api;

-- Letting people in and through: the public process, and the operator's for its canaries.
GRANT SELECT ON credentials_live_credential, credentials_live_session, credentials_live_resettoken TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_open_session, credentials_end_session TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_revoked_hash, credentials_redeem, credentials_renew_lease, credentials_ack, credentials_leave
  TO tocsin_public;

-- The state of the cutover holds no secret.
GRANT SELECT ON credentials_population, credentials_epoch, credentials_cutover TO tocsin_operator, tocsin_console, tocsin_public, tocsin_worker;
GRANT SELECT ON credentials_cutoverack, credentials_nodelease TO tocsin_operator, tocsin_console;
GRANT SELECT (account_id, class, epoch, version, set_at) ON credentials_credential TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT (account_id, epoch, version, created_at) ON credentials_session TO tocsin_operator, tocsin_console;
GRANT SELECT (account_id, epoch, created_at, expires_at, used_at, revoked_at) ON credentials_resettoken TO tocsin_operator, tocsin_console, tocsin_worker;
GRANT SELECT ON credentials_account TO tocsin_operator, tocsin_console, tocsin_worker;

-- Arm, commit, abort, import, canaries.
-- Epochs move through functions alone: they raise what an armed cutover names, and lower only to what was raised.
GRANT UPDATE (version) ON credentials_population TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE (state, approval, committed_at, sealed_at, aborted_at, erasing_at, override, canaries_tried, canaries_refused) ON credentials_cutover
  TO tocsin_operator, tocsin_console;
GRANT EXECUTE ON FUNCTION credentials_raise_epochs, credentials_restore_epochs, credentials_seal_epochs, credentials_open_population, credentials_new_cohort
  TO tocsin_operator, tocsin_console;
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

-- The gate's process asks through functions and reads which account numbers are open: no name, no address, no hash, no key. Keys are made and
-- revoked on the command line; the console shows that a canary exists, never its sealed secrets.
GRANT EXECUTE ON FUNCTION credentials_renew_lease, credentials_leave, credentials_gate_ask, credentials_gate_ack, credentials_gate_keys TO tocsin_api;
GRANT SELECT ON credentials_gate_open TO tocsin_api;
GRANT SELECT (id, version) ON credentials_population TO tocsin_api;
GRANT SELECT, INSERT ON credentials_apikey TO tocsin_operator;
GRANT UPDATE (revoked_at) ON credentials_apikey TO tocsin_operator;
GRANT SELECT (account_id) ON credentials_canary TO tocsin_console;

-- Bearer tokens and factors: through their functions, by the public process, and by the operator's for its canaries. Neither reads a secret
-- column of the tables. The two functions that only others call (fresh_account, factor_event) are granted to nobody.
GRANT SELECT ON credentials_live_bearer, credentials_live_factor TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_issue_bearer, credentials_add_factor, credentials_put_codes, credentials_factor_secret, credentials_passkey
  TO tocsin_public, tocsin_operator;
GRANT EXECUTE ON FUNCTION credentials_rotate_bearer, credentials_end_bearer, credentials_revoke_bearer, credentials_end_others, credentials_touch_bearer,
  credentials_remove_factor, credentials_factor_ended, credentials_use_factor, credentials_try_step TO tocsin_public;
-- Ending all sign-ins of one person, on the command line and at the desk, and counting at arm.
GRANT DELETE ON credentials_session TO tocsin_operator, tocsin_console;
GRANT SELECT (id, account_id, class, epoch, version, created_at, expires_at, spent_at, revoked_at) ON credentials_bearer TO tocsin_operator, tocsin_console;
GRANT UPDATE (revoked_at) ON credentials_bearer TO tocsin_operator, tocsin_console;
GRANT UPDATE (cohort) ON credentials_account TO tocsin_console;  -- for the row lock only: what is being opened for the account is waited for
GRANT SELECT (id, account_id, class, epoch, last_step, created_at) ON credentials_factor TO tocsin_operator, tocsin_console;

-- Connectors: the operator's process keeps their secrets and acts on them, the worker hands passwords over and watches. The public process
-- learns which formats are asked for, and writes the outbox only through the function that spends a link.
GRANT SELECT (id, name, population_id, state, formats) ON credentials_target TO tocsin_public;
GRANT EXECUTE ON FUNCTION credentials_redeem_to TO tocsin_public;
GRANT SELECT ON credentials_target TO tocsin_console;
GRANT SELECT, INSERT, UPDATE ON credentials_target TO tocsin_operator, tocsin_worker;
GRANT SELECT, INSERT, UPDATE ON credentials_connectorsecret TO tocsin_operator;
GRANT SELECT (name, live) ON credentials_connectorsecret TO tocsin_worker;
GRANT UPDATE (live) ON credentials_connectorsecret TO tocsin_worker;  -- only ever to nothing: the copy goes when the gate is taken back
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials_plantedcanary TO tocsin_operator;
GRANT SELECT, UPDATE ON credentials_plantedcanary TO tocsin_worker;
GRANT SELECT, UPDATE ON credentials_outbox TO tocsin_worker;
GRANT UPDATE (state, sealed) ON credentials_outbox TO tocsin_operator;
GRANT SELECT (id, account_id, target_id, epoch, format, state, tries, problem, created_at, done_at) ON credentials_outbox TO tocsin_operator, tocsin_console;
-- The waiting room: the public process reports and leads through functions; the worker asks whose turn it is and writes the link's place.
GRANT SELECT ON credentials_room, credentials_roomlane, credentials_roomsecond TO tocsin_operator, tocsin_console, tocsin_public, tocsin_worker;
GRANT SELECT ON credentials_roomnode TO tocsin_operator, tocsin_console;
GRANT SELECT ON credentials_roomplace TO tocsin_public;
GRANT INSERT ON credentials_roomplace TO tocsin_worker;
GRANT SELECT ON credentials_roomlimit TO tocsin_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials_roomlimit TO tocsin_operator, tocsin_worker;
GRANT EXECUTE ON FUNCTION credentials_room_report, credentials_room_lead, credentials_room_move, credentials_room_keep, credentials_room_lane,
  credentials_ask_in_turn, credentials_forget_tries_of TO tocsin_public;
GRANT EXECUTE ON FUNCTION credentials_reserve_try, credentials_forget_tries, credentials_reserve_try_from, credentials_forget_tries_from TO tocsin_public, tocsin_operator;

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

-- Links by mail start to live when the relay took them; codes by post are made where they are printed; answers to "was I affected?" are made
-- by the worker and read by their token alone.
GRANT SELECT (outbound, handed_over_at, channel), UPDATE (expires_at, outbound, handed_over_at) ON credentials_resettoken TO tocsin_worker;
GRANT SELECT (request, channel), UPDATE (channel, revoked_at) ON credentials_resettoken TO tocsin_operator;
GRANT SELECT, INSERT ON credentials_letterrequest TO tocsin_worker;
GRANT SELECT, UPDATE ON credentials_letterrequest TO tocsin_operator;
GRANT SELECT ON credentials_letterrequest TO tocsin_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials_affectedanswer TO tocsin_worker;
GRANT SELECT ON credentials_live_affectedanswer TO tocsin_public;
GRANT EXECUTE ON FUNCTION credentials_ask_letter_in_turn, credentials_ask_affected_in_turn TO tocsin_public;

-- Links and codes that do not work are counted by where they come from.
GRANT EXECUTE ON FUNCTION credentials_dead_link TO tocsin_public;
