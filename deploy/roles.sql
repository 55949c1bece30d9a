-- Roles for wal2vec, none of them a superuser. Run it in the source database and, if that is another, in the sink database, as a
-- superuser or as a role that may create roles with REPLICATION. It is plain SQL for any client, and may be run again.
--
--   wal2vec_admin   runs `wal2vec init` and `wal2vec teardown`: creates schemas, tables, publication and slot.
--   wal2vec_stream  runs `wal2vec stream` and `wal2vec backfill`: reads the source table, writes wal2vec's tables.
--   wal2vec_search  runs `wal2vec search` and `wal2vec status`: reads.
--
-- Afterwards:
--   1. Give them passwords or another way to log in:      ALTER ROLE wal2vec_stream PASSWORD '...';
--   2. A publication of a table takes the table's owner:  GRANT the_owner TO wal2vec_admin;
--   3. Once, in the sink, as a superuser:                 CREATE EXTENSION IF NOT EXISTS vector;
--   4. As wal2vec_admin:                                  wal2vec init
--   5. As wal2vec_admin:                                  wal2vec init --grant-stream wal2vec_stream --grant-search wal2vec_search
--
-- The source table here is staging_marts.dim_product: change its name in the last block if yours is another.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('wal2vec_admin', 'LOGIN REPLICATION'),
            ('wal2vec_stream', 'LOGIN REPLICATION'),
            ('wal2vec_search', 'LOGIN')
        ) AS roles (name, attributes)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
        END IF;
    END LOOP;
END
$$;

-- init creates the schemas wal2vec and analytics_features, and the publication.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO wal2vec_admin', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO wal2vec_stream, wal2vec_search', current_database());
    -- A view in a schema that exists already needs the right to create there.
    IF to_regnamespace('analytics_features') IS NOT NULL THEN
        GRANT USAGE, CREATE ON SCHEMA analytics_features TO wal2vec_admin;
    END IF;
END
$$;

-- Backfills and the stream read the source table; search shows its columns.
DO $$
DECLARE
    source constant text := 'staging_marts.dim_product';
BEGIN
    IF to_regclass(source) IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO wal2vec_admin, wal2vec_stream, wal2vec_search', split_part(source, '.', 1));
        EXECUTE format('GRANT SELECT ON TABLE %s TO wal2vec_admin, wal2vec_stream, wal2vec_search', source);
    END IF;
END
$$;
