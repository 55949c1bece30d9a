-- Roles for wal2vec, none of them a superuser. Run it in the source database and, if that is another, in the sink database, as a
-- superuser or as a role that may create roles with REPLICATION. It is plain SQL for any client, and may be run again.
--
--   wal2vec_admin   runs `wal2vec init` and `wal2vec teardown`: creates schemas, tables, publication and slot.
--   wal2vec_stream  runs `wal2vec stream` and `wal2vec backfill`: reads columns of the source table, writes wal2vec's tables.
--   wal2vec_search  runs `wal2vec search` and `wal2vec status`: reads.
--
-- Afterwards:
--   1. Give them passwords or another way to log in:      ALTER ROLE wal2vec_stream PASSWORD '...';
--   2. A publication of a table takes the table's owner:  GRANT the_owner TO wal2vec_admin;
--   3. Once, in the sink, as a superuser:                 CREATE EXTENSION IF NOT EXISTS vector;
--   4. As wal2vec_admin:                                  wal2vec init
--   5. As wal2vec_admin:                                  wal2vec init --grant-stream wal2vec_stream --grant-search wal2vec_search
--
-- The source table here is staging_marts.dim_product: change its name, and the columns, in the last block if yours are others.
--
-- REPLICATION is much: whoever has the password of such a role can read every change of the database, drop every slot and copy the whole server
-- (docs/operations.md, "Roles"). These lines of pg_hba.conf, above all others, leave it the one database and close what they can close; here the
-- database is shop, and 10.0.0.7 the machine that streams. The same for wal2vec_admin. Other names may need double quotes there.
--
--   hostssl shop         wal2vec_stream  10.0.0.7/32  scram-sha-256
--   host    all          wal2vec_stream  all          reject
--   host    replication  wal2vec_stream  all          reject
--   local   all          wal2vec_stream               reject
--   local   replication  wal2vec_stream               reject

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

-- A session of the stream's that stands still in a transaction is ended: its locks keep others from altering tables. This bounds a program, not
-- somebody who has the password, for the role may set it otherwise. Where no sink is on this server, transaction_timeout (PostgreSQL 17 and
-- later) may be set too, to more than the longest transaction that any client of the source keeps open.
ALTER ROLE wal2vec_stream SET idle_in_transaction_session_timeout = '10min';

-- Backfills and the stream read these columns of the source table, and no other: those of source.key, source.template and source.soft_delete.
-- search shows columns and filters by them (--columns, --filter): grant wal2vec_search what it is to show. The admin has the owner's rights.
DO $$
DECLARE
    source constant text := 'staging_marts.dim_product';
    columns constant text[] := ARRAY['product_id', 'name', 'brand', 'category', 'description', 'deleted'];
    reader text;
    missing text;
BEGIN
    IF to_regclass(source) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO wal2vec_admin, wal2vec_stream, wal2vec_search', split_part(source, '.', 1));
    FOREACH reader IN ARRAY ARRAY['wal2vec_stream', 'wal2vec_search'] LOOP
        -- A right that is given twice would be looked at as a change of the column.
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO missing
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = to_regclass(source) AND a.attname = ANY (columns) AND NOT has_column_privilege(reader, a.attrelid, a.attnum, 'SELECT');
        IF missing IS NOT NULL THEN
            EXECUTE format('GRANT SELECT (%s) ON TABLE %s TO %I', missing, source, reader);
        END IF;
    END LOOP;
END
$$;
