-- One database role per process, none of them superuser; what each may do stands in the rooms' sql/grants.sql.
-- Run by the owner after each migration; safe to repeat. Passwords are set beside it, from the caller's memory.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tocsin_operator', 'tocsin_console', 'tocsin_public', 'tocsin_intake', 'tocsin_worker', 'tocsin_sequencer', 'tocsin_api'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name);
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
  END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- The queue: whoever acts may enqueue; only workers fetch and finish. The public site and intake, which strangers talk to, can neither put
-- a job in nor see one: the site enqueues its own jobs through functions of the credentials room, intake none.
REVOKE ALL ON procrastinate_jobs, procrastinate_events, procrastinate_workers, procrastinate_periodic_defers FROM tocsin_public, tocsin_intake, tocsin_api;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM tocsin_public, tocsin_intake, tocsin_api;
GRANT SELECT, INSERT ON procrastinate_jobs, procrastinate_events TO tocsin_operator, tocsin_console;
GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers, procrastinate_periodic_defers TO tocsin_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO tocsin_operator, tocsin_console, tocsin_worker, tocsin_sequencer;
GRANT SELECT ON django_migrations, django_content_type TO tocsin_operator, tocsin_console, tocsin_public, tocsin_intake, tocsin_worker, tocsin_sequencer;
-- Sign-in and its lock-out belong to the console alone.
GRANT SELECT, INSERT, UPDATE, DELETE ON django_session, axes_accessattempt, axes_accesslog, axes_accessfailurelog, axes_accessattemptexpiration TO tocsin_console;
GRANT SELECT ON auth_permission, auth_group, auth_group_permissions TO tocsin_console;
