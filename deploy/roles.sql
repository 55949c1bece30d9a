-- Roles for wal2vec, none of them a superuser. Run it in the source database and, if that is another, in the sink database, as a
-- superuser or as a role that may create roles with REPLICATION. It is plain SQL for any client, and may be run again. Run it again after the
-- first init: it then takes CREATE ON DATABASE back, which CREATE PUBLICATION needs and nothing else. (For the publication of a further pipeline:
-- GRANT CREATE ON DATABASE ... TO wal2vec_admin, init, and this file again.) It also takes back from these roles CREATE on the schema public, and from
-- wal2vec_swap that on the schema of the source table: who may create where every role looks for functions can have every role run its own.
--
--   wal2vec_admin   runs `wal2vec init` and `wal2vec teardown`: creates tables, publication and slot, and owns the schemas wal2vec and, where it
--                   is not there yet, analytics_features.
--   wal2vec_stream  runs `wal2vec stream` and `wal2vec backfill`: reads the log of the source, writes wal2vec's tables.
--   wal2vec_read    runs nothing by itself: every command reads rows of the source table as this role (source.read_dsn). What the table's owner puts into
--                   an index runs with the rights of the role that reads, so this one has no REPLICATION, and columns of tables of one owner alone. Tables of
--                   another owner take another such role (wal2vec.read).
--   wal2vec_search  runs `wal2vec search` and `wal2vec status`: reads wal2vec's tables.
--   wal2vec_swap    runs nothing and cannot log in: the function that follows swapped tables (dbt's table models) runs as it. It has the rights of
--                   the table's owner and the publication, and no others, and may own nothing but these. A table of another owner or in another database
--                   takes another such role (wal2vec.swap).
--
-- Each step by the role that it names (docs/operations.md, "Roles", has the same steps with every command):
--   1. A superuser runs this file, in the source and, if that is another database, in the sink:
--        psql -X -v ON_ERROR_STOP=1 -f deploy/roles.sql service=source
--      where [source] in ~/.pg_service.conf, mode 0600, has host, dbname, user and password: every account can read the arguments of a program.
--   2. The superuser gives the roles passwords, or another way to log in:      \password wal2vec_stream   (psql sends its hash alone)
--      and, since a publication of a table takes the table's owner:            GRANT the_owner TO wal2vec_admin, wal2vec_swap;
--      and, once, in the sink:                                                 CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
--   3. wal2vec_admin runs:   wal2vec init
--      and then:             wal2vec init --swap-role wal2vec_swap --grant-stream wal2vec_stream --grant-read wal2vec_read --grant-search wal2vec_search
--   4. The superuser runs this file again: it takes back from wal2vec_admin and wal2vec_swap what step 3 alone needed, CREATE on the database.
--   5. The settings of wal2vec_stream and wal2vec_search get:   sink.owner: wal2vec_admin   (in the environment: WAL2VEC_SINK_OWNER)
--      and all settings, the admin's too, from step 3 on:       source.read_dsn: the address of the source, for wal2vec_read (WAL2VEC_SOURCE_READ_DSN)
--
-- Other names than these are settings of the session, set before it; by psql, each by a -c before the -f:
--
--   psql -X -v ON_ERROR_STOP=1 -c "SET wal2vec.source_table = 'shop.item'" -c "SET wal2vec.source_columns = 'id, title'" -f deploy/roles.sql service=source
--
--   wal2vec.source_table    the source table, with its schema       staging_marts.dim_product
--   wal2vec.owner           its owner, without quotes                where it is set, a table of another owner ends this file
--   wal2vec.source_columns  those of key, template, soft delete     product_id, name, brand, category, description, deleted
--   wal2vec.sink_schema     sink.schema, without quotes             wal2vec
--   wal2vec.view_schema     the schema of sink.view, without quotes analytics_features (not public)
--   wal2vec.admin, wal2vec.stream, wal2vec.read, wal2vec.search, wal2vec.swap: the roles, without quotes
--   wal2vec.makers          roles, with commas and without quotes, that are no superusers and may grant those five, since they made them. Only the
--                           role that runs this file is taken to be such a one: any other could be a stranger's, who made them before you.
--   wal2vec.known           roles, with commas and without quotes, that were there before this file ran first, and are none of a stranger's. What it made
--                           or took, it knows again by a setting of the role that only a superuser can make (lo_compat_privileges, at its default).
--
-- REPLICATION is much: any client that has the password of such a role can read every change of the database, drop every slot and copy the whole server
-- (docs/operations.md, "Roles"). These lines of pg_hba.conf, above all others, leave it the one database and close what they can close; here the
-- database is shop, and 10.0.0.7 the machine that streams. The same for wal2vec_admin. Other names may need double quotes there.
--
--   hostssl shop         wal2vec_stream  10.0.0.7/32  scram-sha-256
--   host    all          wal2vec_stream  all          reject
--   host    replication  wal2vec_stream  all          reject
--   local   all          wal2vec_stream               reject
--   local   replication  wal2vec_stream               reject

-- All of it or nothing: a client that goes on behind an error must not give rights to a role that was refused.
BEGIN;

-- A role that may create schemas can put functions into one that is called like the role that runs this, where they would be found: from here on
-- nothing is looked for there, nor in public. What is below names pg_catalog all the same, for those who paste a part of it.
SELECT pg_catalog.set_config('search_path', 'pg_catalog', false);
-- Nor may the owner of the database, by its settings, keep the warnings of this file from you, or have its texts read otherwise.
SELECT pg_catalog.set_config('client_min_messages', 'notice', true), pg_catalog.set_config('standard_conforming_strings', 'on', true);

-- A role that may create roles could make these before you do; it then knows their passwords, and can make itself a member of them at any moment: from
-- PostgreSQL 16 on it has ADMIN OPTION on what it made. And the owner of the database could have this session act as another role.
DO $$
DECLARE
    admin constant text := COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.admin', true), ''), 'wal2vec_admin');
    roles constant text[] := ARRAY[
        admin, COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.stream', true), ''), 'wal2vec_stream'),
        COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.read', true), ''), 'wal2vec_read'),
        COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.search', true), ''), 'wal2vec_search'),
        COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.swap', true), ''), 'wal2vec_swap')
    ];
    makers constant text[] := pg_catalog.regexp_split_to_array(trim(COALESCE(pg_catalog.current_setting('wal2vec.makers', true), '')), '\s*,\s*');
    known constant text[] := pg_catalog.regexp_split_to_array(trim(COALESCE(pg_catalog.current_setting('wal2vec.known', true), '')), '\s*,\s*');
    found record;
BEGIN
    -- Each is made further down under the name that is free now, and no other one is taken: who makes a role of that name in the meantime ends this file.
    PERFORM pg_catalog.set_config(
        'wal2vec.free',
        (SELECT pg_catalog.to_jsonb(pg_catalog.array_agg(w.name)) FROM pg_catalog.unnest(roles) AS w (name)
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = w.name))::pg_catalog.text,
        true
    );
    FOR found IN
        SELECT s.setdatabase <> 0 AS here, s.setrole <> 0 AS own
        FROM pg_catalog.pg_db_role_setting AS s
        CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
        WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
          AND s.setrole IN (0, (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = SESSION_USER))
          AND pg_catalog.starts_with(c.setting, 'role=')
    LOOP
        RAISE EXCEPTION 'sessions of role % in database % act as another role, because a setting says so', SESSION_USER, pg_catalog.current_database()
            USING HINT = pg_catalog.format(
                'Run ALTER ROLE %s %s RESET role; and then this file in a new session.', CASE WHEN found.own THEN pg_catalog.quote_ident(SESSION_USER) ELSE 'ALL' END,
                CASE WHEN found.here THEN 'IN DATABASE ' || pg_catalog.quote_ident(pg_catalog.current_database()) ELSE '' END
            );
    END LOOP;
    FOR found IN
        SELECT
            r.rolname AS role, m.rolname AS member, a.admin_option AS grants,
            -- From 16 on REVOKE takes what one grantor gave, and only warns where that is another one.
            CASE WHEN a.grantor <> 10 AND pg_catalog.current_setting('server_version_num')::int >= 160000
                THEN pg_catalog.format(' GRANTED BY %I', pg_catalog.pg_get_userbyid(a.grantor)) ELSE '' END AS granted
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS r ON r.oid = a.roleid AND r.rolname = ANY (roles)
        JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
        WHERE NOT m.rolsuper AND m.rolname NOT IN (admin, CURRENT_USER, SESSION_USER) AND m.rolname <> ALL (makers)
        ORDER BY a.admin_option DESC, a.grantor = 10, r.rolname, m.rolname
    LOOP
        IF found.grants THEN
            RAISE EXCEPTION 'role % is there, and role % may make itself and others members of it', found.role, found.member
                USING HINT = pg_catalog.format(
                    'If %1$s is a stranger, drop %2$s, or run REVOKE %2$s FROM %1$s%4$s CASCADE; and give %2$s another password. If not: SET wal2vec.makers = %3$L;',
                    pg_catalog.quote_ident(found.member), pg_catalog.quote_ident(found.role), found.member, found.granted
                );
        END IF;
        RAISE WARNING 'role % can act as %: if that is not meant, run REVOKE % FROM %', found.member, found.role, pg_catalog.quote_ident(found.role),
            pg_catalog.quote_ident(found.member) || found.granted || ' CASCADE;';
    END LOOP;
    -- Who made a role and is gone has left what it likes: a password, open sessions, default privileges, functions that run as that role. A comment
    -- would prove nothing, since its maker can write one.
    FOR found IN
        SELECT r.rolname AS role
        FROM pg_catalog.pg_roles AS r
        WHERE r.rolname = ANY (roles) AND r.rolname <> ALL (known)
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_db_role_setting AS s
              WHERE s.setrole = r.oid AND s.setdatabase = '0' AND 'lo_compat_privileges=off' = ANY (s.setconfig)
          )
          -- From 16 on a role that is no superuser has this membership in what it made, given by the server itself.
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_auth_members AS a
              JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
              WHERE a.roleid = r.oid AND a.admin_option AND a.grantor = '10' AND (m.rolname IN (CURRENT_USER, SESSION_USER) OR m.rolname = ANY (makers))
          )
        ORDER BY r.rolname
    LOOP
        RAISE EXCEPTION 'role % is there, and it was not this file that made it', found.role
            USING HINT = pg_catalog.format(
                'Take another name, or drop it: BEGIN; DROP OWNED BY %1$s; DROP ROLE %1$s; COMMIT; If you know who made it: SET wal2vec.known = %2$L; then give it another '
                'password, end its sessions, and look at what it owns (pg_shdepend), at pg_default_acl and at pg_db_role_setting.',
                pg_catalog.quote_ident(found.role), found.role
            );
    END LOOP;
END
$$;

-- What is not set has these values.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM (VALUES
            ('wal2vec.source_table', 'staging_marts.dim_product'),
            ('wal2vec.source_columns', 'product_id, name, brand, category, description, deleted'),
            ('wal2vec.sink_schema', 'wal2vec'),
            ('wal2vec.view_schema', 'analytics_features'),
            ('wal2vec.admin', 'wal2vec_admin'),
            ('wal2vec.stream', 'wal2vec_stream'),
            ('wal2vec.read', 'wal2vec_read'),
            ('wal2vec.search', 'wal2vec_search')
        ) AS settings (name, value)
    LOOP
        IF COALESCE(pg_catalog.current_setting(given.name, true), '') = '' THEN
            PERFORM pg_catalog.set_config(given.name, given.value, false);
        END IF;
    END LOOP;
END
$$;

-- The table is looked up by its name once: who may rename tables or schemas could have the name mean one of two owners' tables while this file runs.
DO $$
DECLARE
    wanted constant text := COALESCE(pg_catalog.current_setting('wal2vec.owner', true), '');
    found record;
BEGIN
    SELECT c.oid, c.relkind, pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.format('%I.%I', n.nspname, c.relname) AS named INTO found
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = pg_catalog.to_regclass(pg_catalog.current_setting('wal2vec.source_table'))::pg_catalog.oid;
    PERFORM pg_catalog.set_config('wal2vec.source', COALESCE(found.oid::text, ''), true);
    IF found.oid IS NULL THEN
        RETURN;
    ELSIF found.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table: the log carries changes of tables alone', found.named;
    ELSIF wanted NOT IN ('', found.owner) THEN
        RAISE EXCEPTION 'table % belongs to role %, and wal2vec.owner is %', found.named, found.owner, wanted;
    END IF;
    RAISE NOTICE 'table % belongs to role %', found.named, found.owner;
END
$$;

DO $$
DECLARE
    -- The names that were free when this file looked.
    free constant text[] := ARRAY(
        SELECT pg_catalog.jsonb_array_elements_text(NULLIF(pg_catalog.current_setting('wal2vec.free', true), '')::pg_catalog.jsonb)
    );
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            (pg_catalog.current_setting('wal2vec.admin'), 'LOGIN REPLICATION'),
            (pg_catalog.current_setting('wal2vec.stream'), 'LOGIN REPLICATION'),
            (pg_catalog.current_setting('wal2vec.read'), 'LOGIN'),
            (pg_catalog.current_setting('wal2vec.search'), 'LOGIN')
        ) AS roles (name, attributes)
    LOOP
        IF wanted.name = ANY (free) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
        END IF;
        IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER) THEN
            EXECUTE pg_catalog.format('ALTER ROLE %I SET lo_compat_privileges = off', wanted.name); -- see wal2vec.known
        END IF;
    END LOOP;
END
$$;

-- The schemas belong to the admin, so that init creates none, and no other role can put anything into them. They stay empty in a source database
-- that is not the sink's, too.
DO $$
DECLARE
    admin constant text := pg_catalog.current_setting('wal2vec.admin');
    schema_name text;
    owner text;
    trusted boolean;
    everybodys boolean;
    looking text;
BEGIN
    FOREACH schema_name IN ARRAY ARRAY[pg_catalog.current_setting('wal2vec.sink_schema'), pg_catalog.current_setting('wal2vec.view_schema')] LOOP
        SELECT f.rolname, f.rolsuper INTO owner, trusted
        FROM pg_catalog.pg_namespace AS n
        JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
        JOIN pg_catalog.pg_roles AS f ON f.oid = CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END
        WHERE n.nspname = schema_name;
        -- Who may create where every role looks for functions has every role run its own: any better match for the arguments of a call is taken.
        everybodys := schema_name = 'public' OR EXISTS (
            SELECT
            FROM (
                SELECT pg_catalog.substr(c.setting, 13) AS search_path
                FROM pg_catalog.pg_db_role_setting AS s
                CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
                WHERE s.setrole = '0'
                  AND s.setdatabase IN ('0', (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
                  AND pg_catalog.starts_with(c.setting, 'search_path=')
                UNION ALL
                SELECT s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name = 'search_path' -- of the server's files, too
            ) AS found
            CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(found.search_path, ',') AS p (part)
            WHERE pg_catalog.btrim(p.part, ' "') = schema_name
        );
        IF everybodys AND COALESCE(owner, admin) = admin THEN
            RAISE WARNING 'schema % is on the search path of every role, and belongs to %: who has its password runs functions as each of them. Take it out of the search path, or set wal2vec.view_schema, and sink.view, to another one',
                schema_name, admin;
        END IF;
        IF NOT everybodys AND COALESCE(owner, admin) = admin THEN
            SELECT pg_catalog.string_agg(DISTINCT r.rolname::text, ', ') INTO looking
            FROM pg_catalog.pg_db_role_setting AS s
            JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole AND r.rolname <> admin
            CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
            CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(pg_catalog.substr(c.setting, 13), ',') AS p (part)
            WHERE s.setdatabase IN ('0', (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
              AND pg_catalog.starts_with(c.setting, 'search_path=') AND pg_catalog.btrim(p.part, ' "') = schema_name;
            IF looking IS NOT NULL THEN
                RAISE WARNING 'schema % is on the search path of %, and belongs to %: who has its password runs functions as these. Take it out of that search path', schema_name, looking, admin;
            END IF;
        END IF;
        IF owner IS NULL THEN
            EXECUTE pg_catalog.format('CREATE SCHEMA %I AUTHORIZATION %I', schema_name, admin);
        ELSIF owner <> admin AND schema_name = pg_catalog.current_setting('wal2vec.sink_schema') THEN
            RAISE WARNING 'schema % belongs to role %, not to %: look at what is in it, then drop it or give it to %', schema_name, owner, admin, admin;
        ELSIF owner <> admin THEN -- the view goes into a schema of yours
            IF NOT trusted THEN
                RAISE WARNING 'schema % of the view belongs to role %, not to %: any role that reads the view could run what that role likes, and so could who restores a dump of the schema; set wal2vec.view_schema, and sink.view, to a schema of its own',
                    schema_name, owner, admin;
            END IF;
            IF NOT everybodys THEN -- PostgreSQL asks for CREATE each time the view is to show another generation
                EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', schema_name, admin);
            ELSIF EXISTS (
                SELECT
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = schema_name AND c.relkind = 'v' AND pg_catalog.pg_get_userbyid(c.relowner) = admin
            ) THEN -- a view from before stays
                EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, admin);
                EXECUTE pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %I CASCADE', schema_name, admin);
                RAISE WARNING 'the view is in schema %, where every role looks for functions, and % may no longer create there: generation activate will ask for that. Set wal2vec.view_schema, and sink.view, to a schema of its own; then wal2vec init moves the view',
                    schema_name, admin;
            ELSE
                RAISE EXCEPTION 'schema % is on the search path of every role, so no role of wal2vec gets CREATE there: set wal2vec.view_schema, and sink.view, to a schema of its own',
                    schema_name;
            END IF;
        END IF;
    END LOOP;
END
$$;

-- A role that may create schemas can make one that is called like another role, where that role's own statements find functions and operators
-- first. So the admin may do that only where the source table is, and only until its publication is there.
DO $$
DECLARE
    admin constant text := pg_catalog.current_setting('wal2vec.admin');
    swap constant text := COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.swap', true), ''), 'wal2vec_swap');
BEGIN
    EXECUTE pg_catalog.format(
        'GRANT CONNECT ON DATABASE %I TO %I, %I, %I, %I', pg_catalog.current_database(), admin,
        pg_catalog.current_setting('wal2vec.stream'), pg_catalog.current_setting('wal2vec.read'), pg_catalog.current_setting('wal2vec.search')
    );
    IF pg_catalog.current_setting('wal2vec.source') = '' OR EXISTS (
        SELECT FROM pg_catalog.pg_publication AS p WHERE pg_catalog.pg_get_userbyid(p.pubowner) IN (admin::name, swap::name)
    ) THEN
        EXECUTE pg_catalog.format('REVOKE CREATE ON DATABASE %I FROM %I', pg_catalog.current_database(), admin);
    ELSE
        EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I', pg_catalog.current_database(), admin);
    END IF;
    -- A session that somebody opens as the stream's role, by psql say, and leaves in a transaction is ended: its locks keep others from altering
    -- tables. It bounds no session that sets it otherwise, and so do wal2vec's own on the source (docs/operations.md, "Roles"). Where no sink is on
    -- this server, transaction_timeout (PostgreSQL 17 and later) may be set too, to more than the longest transaction that any client of the
    -- source keeps open.
    EXECUTE pg_catalog.format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', pg_catalog.current_setting('wal2vec.stream'), '10min');
END
$$;

-- These columns of the source table are read, and no other: those of source.key, source.template and source.soft_delete. search shows columns and
-- filters by them (--columns, --filter): grant wal2vec_read what it is to show. Who owns a table runs code with the rights of the role that reads it, so this
-- role may read no table of another owner.
DO $$
DECLARE
    source constant oid := NULLIF(pg_catalog.current_setting('wal2vec.source'), '');
    columns constant text[] := pg_catalog.regexp_split_to_array(trim(pg_catalog.current_setting('wal2vec.source_columns')), '\s*,\s*');
    reader constant text := pg_catalog.current_setting('wal2vec.read');
    beside text;
    named text;
    other record;
    missing text;
    unknown text; -- columns that the table has not, roles that are more than the owner
    ends text;
BEGIN
    IF (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles AS r WHERE r.rolname = reader) THEN
        RAISE EXCEPTION 'role % is a superuser or has REPLICATION: set wal2vec.read to a role that only reads', reader;
    END IF;
    IF source IS NULL THEN
        RAISE NOTICE 'table % is not in database %: no role is given its columns (in a sink database without the source, that is right)',
            pg_catalog.current_setting('wal2vec.source_table'), pg_catalog.current_database();
        RETURN;
    END IF;
    SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.format('%I.%I', n.nspname, c.relname) INTO beside, named
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = source;
    SELECT pg_catalog.string_agg(w.name, ', ') INTO unknown
    FROM pg_catalog.unnest(columns) AS w (name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = source AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION '% has no column %: name its own in wal2vec.source_columns', named, unknown;
    END IF;
    SELECT
        pg_catalog.string_agg(g.rolname::text, ', ' ORDER BY g.rolname),
        (
            SELECT pg_catalog.string_agg(
                pg_catalog.format(
                    'REVOKE %I FROM %I%s CASCADE;', d.rolname, reader,
                    -- From 16 on REVOKE takes what one grantor gave, and only warns where that is another one.
                    CASE WHEN a.grantor <> '10' AND pg_catalog.current_setting('server_version_num')::int >= 160000
                        THEN pg_catalog.format(' GRANTED BY %I', pg_catalog.pg_get_userbyid(a.grantor)) ELSE '' END
                ), ' ' ORDER BY d.rolname, a.grantor
            )
            FROM pg_catalog.pg_auth_members AS a
            JOIN pg_catalog.pg_roles AS d ON d.oid = a.roleid
            WHERE a.member = (SELECT m.oid FROM pg_catalog.pg_roles AS m WHERE m.rolname = reader)
              AND NOT pg_catalog.pg_has_role((SELECT o.relowner FROM pg_catalog.pg_class AS o WHERE o.oid = source), d.oid, 'MEMBER')
        )
    INTO unknown, ends
    FROM pg_catalog.pg_class AS s
    JOIN pg_catalog.pg_roles AS r ON r.rolname = reader
    JOIN pg_catalog.pg_roles AS g ON g.oid <> r.oid AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER') AND NOT pg_catalog.pg_has_role(s.relowner, g.oid, 'MEMBER')
    WHERE s.oid = source;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'role % is a member of %: the owner of % would have those rights by it', reader, unknown, named
            USING HINT = 'Set wal2vec.read to a role of its own, or revoke these from it: ' || COALESCE(ends, '');
    END IF;
    -- What each of two owners puts into an index reads the other's columns by a role that reads both. What everybody may read is no secret, nor is what two
    -- roles that have one another's rights own.
    FOR other IN
        SELECT r.rolname AS role, r.rolname = reader AS reads, pg_catalog.format('%I.%I', n.nspname, c.relname) AS named, pg_catalog.pg_get_userbyid(c.relowner) AS owner
        FROM pg_catalog.pg_class AS s
        JOIN pg_catalog.pg_class AS c ON c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> s.oid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_roles AS r ON r.rolname IN (reader, pg_catalog.current_setting('wal2vec.search'))
        WHERE s.oid = source
          AND NOT (pg_catalog.pg_has_role(s.relowner, c.relowner, 'USAGE') AND pg_catalog.pg_has_role(c.relowner, s.relowner, 'USAGE'))
          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_toast')
          -- wal2vec's own tables, which a role that searches reads in the sink.
          AND NOT (r.rolname <> reader AND n.nspname IN (pg_catalog.current_setting('wal2vec.sink_schema'), pg_catalog.current_setting('wal2vec.view_schema')))
          AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
          AND EXISTS (
              SELECT
              FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
                AND NOT (pg_catalog.has_column_privilege('public', c.oid, a.attnum, 'SELECT') AND pg_catalog.has_schema_privilege('public', n.oid, 'USAGE'))
          )
        ORDER BY r.rolname <> reader, c.oid
    LOOP
        IF other.reads THEN
            RAISE EXCEPTION 'role % may read %, which belongs to %: by it the owner of % could read that, or that one this table', other.role, other.named, other.owner, named
                USING HINT = 'Set wal2vec.read to a role of its own, one for each owner of tables; or take that right from it.';
        END IF;
        RAISE WARNING 'role % may read %, which belongs to %: the owner of % could read that where role % reads the table, without source.read_dsn',
            other.role, other.named, other.owner, named, other.role;
    END LOOP;
    -- The stream's role calls the function that follows swapped tables, which is beside the table.
    EXECUTE pg_catalog.format(
        'GRANT USAGE ON SCHEMA %s TO %I, %I, %I', beside, pg_catalog.current_setting('wal2vec.admin'), pg_catalog.current_setting('wal2vec.stream'), reader
    );
    -- A right that is given twice would be looked at as a change of the column.
    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO missing
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = source AND a.attname = ANY (columns) AND NOT pg_catalog.has_column_privilege(reader, a.attrelid, a.attnum, 'SELECT');
    IF missing IS NOT NULL THEN
        -- The names keep their meaning up to the end: that of the table by a lock, that of the schema since the statement above wrote its row.
        EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', named);
        EXECUTE pg_catalog.format('GRANT SELECT (%s) ON TABLE %s TO %I', missing, named, reader);
        IF NOT EXISTS (
            SELECT
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.transactionid = n.xmin AND l.pid = pg_catalog.pg_backend_pid() AND l.granted
            WHERE c.oid = source AND pg_catalog.format('%I.%I', n.nspname, c.relname) = named
              AND NOT EXISTS (
                  SELECT FROM pg_catalog.unnest(columns) AS w (name)
                  WHERE NOT pg_catalog.has_column_privilege(reader, source, w.name, 'SELECT')
              )
        ) THEN
            RAISE EXCEPTION 'table % was renamed or replaced, or its schema was, while this file ran: nothing was done. Run it again', named;
        END IF;
    END IF;
END
$$;

-- What the function that follows swapped tables runs as. The table's owner decides what that function runs into, so its role gets nothing beyond the
-- owner's rights: those of a superuser, or of a role that can act as one, where that owns the table, not even those.
DO $$
DECLARE
    admin constant text := COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.admin', true), ''), 'wal2vec_admin');
    swap constant text := COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.swap', true), ''), 'wal2vec_swap');
    source constant oid := NULLIF(pg_catalog.current_setting('wal2vec.source'), '');
    makers constant text[] := pg_catalog.regexp_split_to_array(trim(COALESCE(pg_catalog.current_setting('wal2vec.makers', true), '')), '\s*,\s*');
    -- Those of the functions that versions of wal2vec made: their text and what the catalogue says of them, without the names of tables, columns and the like.
    fingerprints constant text[] := ARRAY[
        'e7dde8b38fc1625bfa85171977b05a99a90296d4ede1395614bcacfe2d5351b3',
        '78a9667dfe54bccb7e97fa6f801dc1f1613eaa6219c93b82e360880c5a958476',
        'c51f0d4f4c30fd912b2961637bda5c3a191b41c6f1949d176af5b2605c71d5da',
        '3b7e8161b962d904809720258df213a67d6bf231b45f410eabd5d07e9d1fc45a',
        '5a422e106a1bafcbceb35e2d1f055a809da5ba77210b9ed20778c0add09fe2fa',
        '11139ed92d8ae41b2415929206be4cfdd0d28af6dc272dcfe5d5e94a72073bee',
        '107b496fd36c16f1492f521102a665d0d689d46aa4d9247ffe8596e1e5549be8',
        'e5a48ca0475e4d11aa5843f343ba9fe2b485ff9b5a34e55e6e71c743d526b50a',
        'c5c33425a0ed48917f45c83842bc7786fe86c023654ab2e0c49bb6cf914f49c2'
    ];
    -- The names that were free when this file looked.
    free constant text[] := ARRAY(
        SELECT pg_catalog.jsonb_array_elements_text(NULLIF(pg_catalog.current_setting('wal2vec.free', true), '')::pg_catalog.jsonb)
    );
    left_there record;
    owner record;
    given record;
    members text;
    others text;
BEGIN
    SELECT o.rolname, EXISTS (
        SELECT
        FROM pg_catalog.pg_roles AS s
        WHERE (
            s.rolsuper
            OR s.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
            OR s.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000
        )
          AND pg_catalog.pg_has_role(o.oid, s.oid, 'MEMBER')
    ) AS super INTO owner
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
    WHERE c.oid = source;
    IF swap = ANY (free) THEN
        EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', swap);
    END IF;
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER) THEN
        EXECUTE pg_catalog.format('ALTER ROLE %I SET lo_compat_privileges = off', swap); -- see wal2vec.known
    END IF;
    -- One that is there already is taken only where no other role can act as it, and where it is no second owner's: the first pipeline would then have
    -- a function that its table's owner could use for the rights of the second.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = swap AND r.rolcanlogin) THEN
        RAISE EXCEPTION 'role % may log in: set wal2vec.swap to a role of its own, or run: ALTER ROLE % NOLOGIN;', swap, pg_catalog.quote_ident(swap);
    END IF;
    SELECT pg_catalog.string_agg(m.rolname::text, ', ') INTO members
    FROM pg_catalog.pg_auth_members AS a
    JOIN pg_catalog.pg_roles AS s ON s.oid = a.roleid AND s.rolname = swap
    JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
    WHERE NOT m.rolsuper AND m.rolname <> admin
      -- Who makes a role without being a superuser may grant it from then on, and so can become it: above it is said who may be such a one.
      AND (
          m.rolname NOT IN (CURRENT_USER, SESSION_USER) AND m.rolname <> ALL (makers)
          OR COALESCE((pg_catalog.to_jsonb(a) ->> 'set_option')::boolean, true)
          OR COALESCE((pg_catalog.to_jsonb(a) ->> 'inherit_option')::boolean, true)
      );
    IF members IS NOT NULL THEN
        RAISE EXCEPTION 'role % has members besides %: %', swap, admin, members
            USING HINT = 'Set wal2vec.swap to a role of its own, or revoke the role from them.';
    END IF;
    -- What a role gave that is no superuser, and did not run this file, it could give the table's owner as well, since it may grant that role. From 16 on the
    -- server keeps who gave it.
    FOR given IN
        SELECT
            g.rolname AS role, w.rolname AS giver,
            pg_catalog.current_setting('server_version_num')::int >= 160000 AND NOT w.rolsuper
            AND w.rolname NOT IN (CURRENT_USER, SESSION_USER) AND w.rolname <> ALL (makers)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE (r.rolsuper OR r.oid < '16384') AND pg_catalog.pg_has_role(g.oid, r.oid, 'MEMBER')) AS harmless
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS s ON s.oid = a.member AND s.rolname = swap
        JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
        LEFT JOIN pg_catalog.pg_roles AS w ON w.oid = a.grantor
        WHERE source IS NOT NULL AND g.rolname <> owner.rolname
        ORDER BY g.rolname, w.rolname
    LOOP
        IF given.harmless THEN
            RAISE WARNING 'role % made % a member of %, which the owner of % could make use of: REVOKE % FROM % GRANTED BY % CASCADE;', given.giver, swap, given.role, source::regclass,
                pg_catalog.quote_ident(given.role), pg_catalog.quote_ident(swap), pg_catalog.quote_ident(given.giver);
        ELSE
            others := pg_catalog.concat_ws(', ', others, given.role);
        END IF;
    END LOOP;
    IF others IS NOT NULL THEN
        RAISE EXCEPTION 'role % is a member of %, and table % belongs to %: set wal2vec.swap to another role, one for each owner',
            swap, others, source::regclass, owner.rolname;
    END IF;
    -- Who could act as it once may have left something there: a function of it runs as it for good. So it may own publications of this database and functions that
    -- follow tables of this owner, as a version of wal2vec made them, for a publication whose owner's rights it has, and that only roles that stream may call;
    -- nothing else, in any database. What any role can make for it is no property of its own: a user mapping, by the owner of a foreign server.
    FOR left_there IN
        SELECT
            s.dbid NOT IN (0, d.oid) AS elsewhere,
            CASE WHEN s.dbid IN (0, d.oid) THEN i.type || ' ' || i.identity
                ELSE COALESCE(
                    (
                        SELECT k.kind
                        FROM (VALUES
                            ('pg_class', 'a table, view or sequence'), ('pg_proc', 'a function'), ('pg_namespace', 'a schema'), ('pg_type', 'a type'),
                            ('pg_publication', 'a publication'), ('pg_default_acl', 'default privileges'), ('pg_largeobject', 'a large object'),
                            ('pg_foreign_server', 'a foreign server')
                        ) AS k (catalogue, kind)
                        WHERE k.catalogue = c.relname
                    ),
                    'an object of ' || c.relname
                ) || ' in database ' || (SELECT e.datname FROM pg_catalog.pg_database AS e WHERE e.oid = s.dbid) END AS what,
            pg_catalog.format('SELECT pg_catalog.pg_describe_object(%s, %s, 0);', s.classid, s.objid) AS naming,
            -- Such a one may be a pipeline's, but for its publication or those that may call it.
            CASE
                WHEN o.callers IS NULL THEN ', which wal2vec did not make'
                WHEN NOT o.beside THEN ', of a pipeline of another owner'
                WHEN NOT o.published THEN ', whose publication is not of the same owner'
                ELSE ', which ' || pg_catalog.array_to_string(o.callers, ', ') || ' may call without being a role that streams'
            END AS why,
            CASE i.type
                WHEN 'default acl' THEN pg_catalog.format('ALTER DEFAULT PRIVILEGES %s REVOKE ALL ...', pg_catalog.regexp_replace(i.identity, ' on [a-z ]+$', ''))
                WHEN 'statistics object' THEN 'DROP STATISTICS ' || i.identity
                WHEN 'large object' THEN pg_catalog.format('SELECT pg_catalog.lo_unlink(%s)', s.objid)
                ELSE CASE
                    WHEN o.published AND o.carried THEN pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', i.identity, pg_catalog.array_to_string(o.callers, ', '))
                    ELSE pg_catalog.format('DROP %s %s', pg_catalog.upper(i.type), i.identity)
                END
            END || ';' AS removal,
            NOT o.beside AS serves,
            o.beside AND o.published AND o.callers = ARRAY[]::pg_catalog.text[] AS odd
        FROM pg_catalog.pg_roles AS r
        JOIN pg_catalog.pg_shdepend AS s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND s.deptype = 'o'
        JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
        JOIN pg_catalog.pg_class AS c ON c.oid = s.classid
        LEFT JOIN LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, 0) AS i ON s.dbid IN (0, d.oid)
        LEFT JOIN LATERAL (
            SELECT
                -- Those that neither stream, nor read, nor may act as the role: a stream's role can read each change of the table without the function.
                ARRAY(
                    SELECT DISTINCT pg_catalog.quote_ident(g.rolname)
                    FROM pg_catalog.aclexplode(f.proacl) AS a
                    JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
                    WHERE NOT g.rolsuper AND NOT g.rolreplication AND NOT pg_catalog.pg_has_role(g.oid, r.oid, 'MEMBER')
                      AND g.rolname <> pg_catalog.current_setting('wal2vec.read')
                      -- This file made it, for the tables of this owner, or for those of another.
                      AND NOT EXISTS (
                          SELECT FROM pg_catalog.pg_db_role_setting AS m
                          WHERE m.setrole = g.oid AND m.setdatabase = '0' AND 'lo_compat_privileges=off' = ANY (m.setconfig)
                      )
                      -- The managed server on which a membership takes the place of the attribute; a role of that name on another one means nothing.
                      AND NOT EXISTS (
                          SELECT FROM pg_catalog.pg_roles AS m
                          WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_get_userbyid('10') = 'rdsadmin' AND pg_catalog.pg_has_role(g.oid, m.oid, 'MEMBER')
                      )
                    ORDER BY 1
                ) AS callers,
                source IS NULL OR EXISTS (
                    SELECT FROM pg_catalog.pg_class AS c
                    WHERE c.relnamespace = f.pronamespace AND c.relowner = (SELECT o.relowner FROM pg_catalog.pg_class AS o WHERE o.oid = source)
                ) AS beside,
                COALESCE(pg_catalog.pg_has_role(r.oid, p.pubowner, 'USAGE') OR p.pubowner = (SELECT k.relowner FROM pg_catalog.pg_class AS k WHERE k.oid = source), false) AS published,
                COALESCE(
                    p.puballtables OR EXISTS (
                        SELECT FROM pg_catalog.pg_publication_rel AS l
                        JOIN pg_catalog.pg_class AS t ON t.oid = l.prrelid
                        WHERE l.prpubid = p.oid AND t.relnamespace = f.pronamespace
                          AND pg_catalog.strpos(f.prosrc, E'\n    table_name CONSTANT text := ' || pg_catalog.quote_literal(t.relname) || E';\n') > 0
                    ),
                    false
                ) AS carried
            FROM pg_catalog.pg_proc AS f
            JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
            JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
            LEFT JOIN pg_catalog.pg_publication AS p
                ON pg_catalog.strpos(f.prosrc, E'\n    publication_name CONSTANT text := ' || pg_catalog.quote_literal(p.pubname) || E';\n') > 0
            WHERE s.dbid = d.oid AND s.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
              AND f.oid = s.objid AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
              AND f.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(f.proacl) AS a WHERE a.grantee = 0)
              AND
              CASE
                  WHEN pg_catalog.strpos(f.prosrc, pg_catalog.chr(7)) = 0 THEN pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
                      pg_catalog.concat_ws(
                          pg_catalog.chr(10), l.lanname, f.prosecdef, f.prokind, f.prorettype, f.proretset, f.provolatile, f.pronargs, f.proallargtypes, f.probin, f.proconfig,
                          pg_catalog.regexp_replace(
                              pg_catalog.replace(
                                  pg_catalog.replace(
                                      pg_catalog.replace(
                                          pg_catalog.replace(
                                              f.prosrc,
                                              'LOCK TABLE ONLY "' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(pg_catalog.replace(
                                                  pg_catalog.substring(f.prosrc, $re$\n    table_name CONSTANT text := '((?:[^'\\]|'')*)';$re$), '''''', ''''
                                              ), '"', '""') || '" IN',
                                              'LOCK TABLE ONLY ' || pg_catalog.chr(7) || ' IN'
                                          ),
                                          '    schema_name CONSTANT text := ' || pg_catalog.quote_literal(n.nspname) || ';',
                                          '    schema_name CONSTANT text := ' || pg_catalog.chr(7) || ';'
                                      ),
                                      pg_catalog.quote_literal(
                                          'SELECT "' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(f.proname, '"', '""') || '"()'
                                      ),
                                      'SELECT ' || pg_catalog.chr(7)
                                  ),
                                  pg_catalog.quote_literal('"' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(f.proname, '"', '""') || '"()'),
                                  pg_catalog.chr(7)
                              ),
                              -- Each is one constant, or a list of them.
                              $re$(\n    (?:table_name|owner_name|publication_name|key_columns|read_columns|listed_columns) CONSTANT text(?:\[\])? := )$re$
                              || $re$(?:(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*')|NULL::text\[\]$re$
                              || $re$|ARRAY\[(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*')(?:, (?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*'))*\]::text\[\]);$re$,
                              $re$\1$re$ || pg_catalog.chr(7) || ';',
                              'g'
                          )
                      ), 'UTF8'
                  )), 'hex')
              END
              = ANY (fingerprints)
        ) AS o ON true
        WHERE r.rolname = swap
          AND s.classid <> 'pg_catalog.pg_user_mapping'::pg_catalog.regclass
          AND NOT (s.dbid = d.oid AND s.classid = 'pg_catalog.pg_publication'::pg_catalog.regclass)
          -- A sink's database may be on the server of the source, where this file says of that one what is to be said; here the role gets nothing.
          AND NOT (source IS NULL AND s.dbid NOT IN (0, d.oid))
          AND NOT COALESCE(o.beside AND o.published AND o.carried AND o.callers = ARRAY[]::pg_catalog.text[], false)
        ORDER BY s.dbid NOT IN (0, d.oid), s.objid DESC
    LOOP
        IF left_there.odd THEN -- a table that is swapped just now is not published, either
            RAISE WARNING 'role % owns %, for a table that its publication does not carry, as while a swap is followed: if it is of no pipeline, run %', swap, left_there.what, left_there.removal;
            CONTINUE;
        END IF;
        RAISE EXCEPTION 'role % owns %', swap, left_there.what || left_there.why
            USING HINT = CASE
                WHEN left_there.serves THEN 'Set wal2vec.swap to a role of its own, one for each owner of tables.'
                WHEN left_there.elsewhere THEN 'Set wal2vec.swap to a role of its own, one for each database, or drop that there; there, this names it: ' || left_there.naming
                ELSE 'Set wal2vec.swap to a role of its own; or, once you know that no client needs that: ' || left_there.removal
            END;
    END LOOP;
    IF NOT pg_catalog.pg_has_role(admin::name, swap::name, 'MEMBER') THEN
        EXECUTE pg_catalog.format('GRANT %I TO %I', swap, admin);
    END IF;
    IF NOT owner.super AND NOT pg_catalog.pg_has_role(swap::name, owner.rolname, 'MEMBER') THEN
        BEGIN
            EXECUTE pg_catalog.format('GRANT %I TO %I', owner.rolname, swap);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'who may grant % has to run: GRANT % TO %;', owner.rolname, pg_catalog.quote_ident(owner.rolname), pg_catalog.quote_ident(swap);
        END;
    END IF;
    -- A role that gets a publication needs CREATE on the database at that moment, and never again.
    IF source IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE pg_catalog.pg_get_userbyid(p.pubowner) = swap) THEN
        EXECUTE pg_catalog.format('REVOKE CREATE ON DATABASE %I FROM %I', pg_catalog.current_database(), swap);
    ELSE
        EXECUTE pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I', pg_catalog.current_database(), swap);
    END IF;
END
$$;

-- Every session looks into a schema that is called like its role before any other. Who may create schemas, as wal2vec_admin while its publication is made, can
-- have made one.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT n.nspname AS schema_name, o.rolname AS owner
        FROM pg_catalog.pg_namespace AS n
        JOIN pg_catalog.pg_roles AS o ON o.oid = n.nspowner
        JOIN pg_catalog.pg_roles AS r ON r.rolname = n.nspname AND NOT pg_catalog.pg_has_role(o.oid, r.oid, 'MEMBER')
        WHERE o.rolname IN (
            pg_catalog.current_setting('wal2vec.admin'), pg_catalog.current_setting('wal2vec.stream'), pg_catalog.current_setting('wal2vec.read'),
            pg_catalog.current_setting('wal2vec.search'), COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.swap', true), ''), 'wal2vec_swap')
        )
        ORDER BY 1
    LOOP
        RAISE WARNING 'schema % belongs to %, and is called like a role: sessions of % run the functions in it. If that is not meant: DROP SCHEMA % CASCADE;',
            found.schema_name, found.owner, found.schema_name, pg_catalog.quote_ident(found.schema_name);
    END LOOP;
END
$$;

-- CREATE on a schema is of use to the swap role in the transaction that hands the function over, and to no other role of these. In public it lets a role
-- have every other one run its functions. A REVOKE takes what one role gave, and says nothing where that is another one.
DO $$
DECLARE
    swap constant text := COALESCE(NULLIF(pg_catalog.current_setting('wal2vec.swap', true), ''), 'wal2vec_swap');
    roles constant name[] := ARRAY[
        pg_catalog.current_setting('wal2vec.admin'), pg_catalog.current_setting('wal2vec.stream'), pg_catalog.current_setting('wal2vec.read'),
        pg_catalog.current_setting('wal2vec.search'), swap
    ];
    source constant oid := NULLIF(pg_catalog.current_setting('wal2vec.source'), '');
    given record;
BEGIN
    FOR given IN
        SELECT
            pg_catalog.quote_ident(g.rolname) AS role, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantor)) AS giver, a.grantor = t.owner AS usual,
            t.words, g.rolname <> ALL (t.roles) AS owns,
            CASE WHEN a.grantor = t.owner THEN pg_catalog.format('REVOKE CREATE ON %s %I FROM %I CASCADE;', t.kind, t.name, g.rolname)
                ELSE pg_catalog.format('BEGIN; SET LOCAL ROLE %I; REVOKE CREATE ON %s %I FROM %I CASCADE; COMMIT;', pg_catalog.pg_get_userbyid(a.grantor), t.kind, t.name, g.rolname)
            END AS ends
        FROM (
            SELECT 'DATABASE', d.datname, 'the database', d.datdba, d.datacl, ARRAY[roles[1], swap::name], NULL
            FROM pg_catalog.pg_database AS d
            WHERE d.datname = pg_catalog.current_database()
            UNION ALL
            SELECT 'SCHEMA', n.nspname, 'schema ' || n.nspname, n.nspowner, n.nspacl, CASE WHEN n.nspname = 'public' THEN roles ELSE ARRAY[swap::name] END,
                CASE WHEN n.nspname = 'public' THEN (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = source) END
            FROM pg_catalog.pg_namespace AS n
            WHERE n.nspname = 'public' OR n.oid = (SELECT c.relnamespace FROM pg_catalog.pg_class AS c WHERE c.oid = source)
        ) AS t (kind, name, words, owner, acl, roles, table_owner)
        CROSS JOIN LATERAL pg_catalog.aclexplode(t.acl) AS a
        JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
        WHERE a.privilege_type = 'CREATE' AND a.grantee <> t.owner AND (a.grantor <> t.owner OR t.kind = 'SCHEMA') AND (g.rolname = ANY (t.roles) OR g.oid = t.table_owner)
        ORDER BY t.kind, t.name, 1, 2
    LOOP
        IF given.owns THEN
            RAISE WARNING 'role %, which owns the source table, may create in %, where every role looks for functions, and so have every role run its own. If that is not meant: %',
                given.role, given.words, given.ends;
        ELSIF given.usual THEN
            EXECUTE given.ends;
        ELSE
            RAISE WARNING 'role % gave % CREATE on %, which this file does not take: %', given.giver, given.role, given.words, given.ends;
        END IF;
    END LOOP;
END
$$;

COMMIT;
