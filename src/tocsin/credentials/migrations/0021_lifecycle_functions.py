"""What the worker may do to dead hashes, and the public process about an address, as functions of the owner.

  dead_hashes      the hashes that an erasure is about to end, only where a legal hold lies on the incident: to be copied for its owner
  erase            blanks the dead hashes of one range of accounts; refuses before the erasure has begun, and under a hold without the copy
  unerased         how many are left
  ask_contact      keeps a wish for another address, for who holds a live session; at most three an hour and account
  confirm_contact  marks it as confirmed by its link, once
With SELECT and UPDATE on the hash instead, whoever took the worker over could read every hash and write one for anybody.
"""

from django.db import migrations

FUNCTIONS = """
-- The cohorts of a cutover, from the keys "cohort/class" of its epochs; every class of it stands beside every cohort.
CREATE FUNCTION credentials_covered(p_from_epochs jsonb) RETURNS smallint[]
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT array_agg(DISTINCT split_part(k, '/', 1)::smallint) FROM jsonb_object_keys(p_from_epochs) AS k
$$;

CREATE FUNCTION credentials_dead_hashes(p_cutover bigint, p_first bigint, p_last bigint)
RETURNS TABLE (account_id bigint, class text, hash text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  cut credentials_cutover;
  covered smallint[];
BEGIN
  SELECT * INTO cut FROM credentials_cutover WHERE id = p_cutover;
  IF cut.erasing_at IS NULL OR cut.erased_at IS NOT NULL OR cut.state NOT IN ('committed', 'sealed') THEN
    RAISE EXCEPTION 'nothing of cutover % is being erased', p_cutover;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM incidents_incident i WHERE i.id = cut.incident AND i.hold IS NOT NULL) THEN
    RAISE EXCEPTION 'no legal hold lies on cutover %', p_cutover;
  END IF;
  covered := credentials_covered(cut.from_epochs);
  RETURN QUERY
  SELECT c.account_id, c.class, c.hash
  FROM credentials_credential c
  JOIN credentials_account a ON a.id = c.account_id
  JOIN credentials_epoch e ON e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
  WHERE a.id BETWEEN p_first AND p_last AND a.population_id = cut.population_id AND c.class = ANY (cut.classes) AND c.hash <> ''
    AND c.epoch < cut.to_epoch AND c.epoch < e.epoch AND a.cohort = ANY (covered)
  ORDER BY c.account_id, c.class;
END $$;

-- Only what is dead twice over: older than the epoch of this cutover, in a cohort that it ended, and older than the epoch of now.
CREATE FUNCTION credentials_erase(p_cutover bigint, p_first bigint, p_last bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  cut credentials_cutover;
  covered smallint[];
  n int;
BEGIN
  SELECT * INTO cut FROM credentials_cutover WHERE id = p_cutover;
  IF cut.erasing_at IS NULL OR cut.erased_at IS NOT NULL OR cut.state NOT IN ('committed', 'sealed') THEN
    RAISE EXCEPTION 'nothing of cutover % is being erased', p_cutover;
  END IF;
  IF EXISTS (SELECT 1 FROM incidents_incident i WHERE i.id = cut.incident AND i.hold IS NOT NULL) AND NOT EXISTS (
    SELECT 1 FROM credentials_heldhashes h WHERE h.cutover_id = p_cutover AND h.first_account = p_first AND h.last_account = p_last
  ) THEN
    RAISE EXCEPTION 'a legal hold lies on cutover %, and these hashes were not copied', p_cutover;
  END IF;
  covered := credentials_covered(cut.from_epochs);
  UPDATE credentials_credential c SET hash = ''
  FROM credentials_account a, credentials_epoch e
  WHERE a.id = c.account_id AND a.id BETWEEN p_first AND p_last AND a.population_id = cut.population_id
    AND e.population_id = a.population_id AND e.cohort = a.cohort AND e.class = c.class
    AND c.class = ANY (cut.classes) AND c.hash <> ''
    AND c.epoch < cut.to_epoch AND c.epoch < e.epoch AND a.cohort = ANY (covered);
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

CREATE FUNCTION credentials_unerased(p_cutover bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  cut credentials_cutover;
  covered smallint[];
BEGIN
  SELECT * INTO cut FROM credentials_cutover WHERE id = p_cutover;
  covered := credentials_covered(cut.from_epochs);
  RETURN (
    SELECT count(*) FROM credentials_credential c JOIN credentials_account a ON a.id = c.account_id
    WHERE a.population_id = cut.population_id AND a.cohort = ANY (covered) AND c.class = ANY (cut.classes) AND c.hash <> ''
      AND c.epoch < cut.to_epoch
  );
END $$;

CREATE FUNCTION credentials_ask_contact(p_sid bytea, p_version int, p_request uuid, p_deposit bytea, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  who bigint;
BEGIN
  IF octet_length(p_deposit) NOT BETWEEN 61 AND 1024 THEN
    RAISE EXCEPTION 'a deposit of an address has 61 to 1024 bytes';
  END IF;
  SELECT s.account_id INTO who FROM credentials_live_session s JOIN credentials_live_credential c
    ON c.account_id = s.account_id AND c.class = 'password' AND c.version = p_version WHERE s.sid_sha256 = p_sid;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM credentials_contactrequest WHERE account_id = who AND asked_at < p_at - interval '1 day';
  IF (SELECT count(*) FROM credentials_contactrequest WHERE account_id = who AND asked_at > p_at - interval '1 hour') >= 3 THEN
    RETURN false;
  END IF;
  INSERT INTO credentials_contactrequest (id, account_id, version, deposit, asked_at, expires_at)
  VALUES (p_request, who, p_version, p_deposit, p_at, p_at);
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
  VALUES ('general', 'credentials.tasks.send_contact_link', 20, jsonb_build_object('request', p_request::text));
  RETURN true;
END $$;

CREATE FUNCTION credentials_confirm_contact(p_token_sha256 bytea, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  wish uuid;
BEGIN
  UPDATE credentials_contactrequest SET confirmed_at = p_at
  WHERE token_sha256 = p_token_sha256 AND confirmed_at IS NULL AND expires_at > p_at RETURNING id INTO wish;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args)
  VALUES ('general', 'credentials.tasks.change_contact', 20, jsonb_build_object('request', wish::text));
  RETURN true;
END $$;

REVOKE ALL ON FUNCTION credentials_covered, credentials_dead_hashes, credentials_erase, credentials_unerased, credentials_ask_contact, credentials_confirm_contact
  FROM PUBLIC;
"""

UNDO = """
DROP FUNCTION credentials_confirm_contact, credentials_ask_contact, credentials_unerased, credentials_erase, credentials_dead_hashes, credentials_covered;
"""


class Migration(migrations.Migration):

    dependencies = [
        ("credentials", "0020_lifecycle"),
        ("incidents", "0004_containment"),
        ("procrastinate", "0041_post_retry_failed_job"),
    ]

    operations = [migrations.RunSQL(FUNCTIONS, UNDO)]
