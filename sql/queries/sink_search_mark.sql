-- A text that is another one as soon as anything has changed of what a search relies on, by the
-- catalogue alone: the tables of the schema ($1) that the searches of a pipeline ($2) read, which
-- roles own them and the schema and whether these are trusted ($3, as in sink_owners), and what hangs
-- on the tables. A row of the catalogue that was written again has another xmin; VACUUM,
-- ANALYZE and a row of the table itself change none. Each part is a look by an index.
WITH schema AS MATERIALIZED (
    SELECT
        n.oid, CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS owner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1::text
),

relation AS MATERIALIZED (
    SELECT c.oid, c.xmin AS version, c.relowner AS owner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c
        ON c.relnamespace = s.oid AND c.relname = ANY (ARRAY['schema_version', 'pipeline', 'backfill']::name[])
    UNION ALL
    SELECT c.oid, c.xmin, c.relowner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c
        ON c.relnamespace = s.oid AND c.relname >= ('vectors_' || $2::text || '_0')::name AND c.relname < ('vectors_' || $2::text || '_:')::name
    WHERE c.relkind NOT IN ('i', 'I')
)

SELECT coalesce(pg_catalog.string_agg(p.kind || p.oid || ' ' || p.version, ',' ORDER BY p.kind, p.oid), '') AS mark
FROM (
    SELECT 'relation ' AS kind, r.oid, r.version::text AS version
    FROM relation AS r
    UNION ALL
    SELECT 'owner ', w.owner, (o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text)::text
    FROM (
        SELECT s.owner FROM schema AS s
        UNION
        SELECT r.owner FROM relation AS r
    ) AS w
    JOIN pg_catalog.pg_roles AS o ON o.oid = w.owner
    UNION ALL
    SELECT 'policy ', l.oid, l.xmin::text
    FROM relation AS r
    JOIN pg_catalog.pg_policy AS l ON l.polrelid = r.oid
    UNION ALL
    SELECT 'trigger ', g.oid, g.xmin::text
    FROM relation AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
    UNION ALL
    SELECT 'rule ', u.oid, u.xmin::text
    FROM relation AS r
    JOIN pg_catalog.pg_rewrite AS u ON u.ev_class = r.oid
    UNION ALL
    SELECT 'child ', i.inhrelid, i.xmin::text
    FROM relation AS r
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.oid
) AS p
