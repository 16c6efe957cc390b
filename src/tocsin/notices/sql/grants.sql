-- The operator drafts and starts, the console steers, workers send and count; the public site may only answer "did you send this?".
REVOKE ALL ON notices_notice, notices_variant, notices_review, notices_testmail, notices_pageswritten, notices_pagesseen, notices_mailing, notices_lane,
  notices_batch, notices_merged, notices_exception, notices_receipt, notices_bounce, notices_cursor, notices_letter, notices_sitenotice, notices_shipped,
  notices_bundle, notices_bundledletter, notices_substitute
  FROM tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
GRANT SELECT ON notices_notice, notices_variant, notices_review, notices_testmail, notices_pageswritten, notices_pagesseen, notices_mailing, notices_lane,
  notices_batch, notices_merged, notices_exception, notices_receipt, notices_bounce, notices_cursor, notices_letter, notices_sitenotice,
  notices_bundle, notices_bundledletter, notices_substitute TO tocsin_operator, tocsin_console, tocsin_worker;
-- Texts, reviews, receipts and what stood on the site are never changed.
GRANT INSERT ON notices_notice, notices_variant, notices_review, notices_testmail, notices_pageswritten, notices_pagesseen,
  notices_sitenotice TO tocsin_operator, tocsin_console;
GRANT UPDATE (version) ON notices_notice TO tocsin_operator, tocsin_console;  -- the row lock under which versions are numbered
GRANT INSERT, UPDATE ON notices_mailing, notices_lane TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON notices_batch TO tocsin_operator, tocsin_console;
GRANT DELETE ON notices_batch, notices_merged, notices_lane TO tocsin_operator, tocsin_console;  -- of a frozen mailing that was never started
GRANT INSERT ON notices_merged TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON notices_exception TO tocsin_operator, tocsin_console;
GRANT INSERT, UPDATE ON notices_letter TO tocsin_operator, tocsin_console;
-- Bundles are made on the command line, by whoever hands them to the print house; a dissolved one lets its letters go.
GRANT INSERT, UPDATE ON notices_bundle TO tocsin_operator;
GRANT INSERT, DELETE, UPDATE (first_page, pages) ON notices_bundledletter TO tocsin_operator;
GRANT INSERT, UPDATE ON notices_substitute TO tocsin_operator, tocsin_worker;
GRANT UPDATE ON notices_mailing, notices_lane, notices_batch TO tocsin_worker;
GRANT INSERT, UPDATE ON notices_exception, notices_bounce, notices_cursor, notices_letter TO tocsin_worker;
GRANT INSERT ON notices_receipt TO tocsin_worker;
GRANT SELECT, INSERT, DELETE ON notices_shipped TO tocsin_worker;  -- of blocks under way
GRANT SELECT ON notices_sitenotice TO tocsin_public;
GRANT SELECT (id, mailing_id, lane_id, variant_id, n, attempt, sent_at) ON notices_batch TO tocsin_public;
GRANT SELECT (id, started_at) ON notices_mailing TO tocsin_public;
GRANT SELECT (id, subject) ON notices_variant TO tocsin_public;
GRANT SELECT (id, provider) ON notices_lane TO tocsin_public;
