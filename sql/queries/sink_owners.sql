-- By the catalogue alone: the schema ($1), and with it each relation that a pipeline ($2) reads there and that is no table, or belongs to a role that is not
-- trusted. That are this role, superusers, and the one that the settings name ($3). No row where there is no schema.
WITH schema AS (
    SELECT
        n.oid, CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS owner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1::text
),

-- Two looks by name, for which the catalogue has an index. What follows a name's number sorts before a colon.
relation AS (
    SELECT c.relname, c.relkind, c.relowner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relname = ANY (
        ARRAY['schema_version', 'pipeline', 'generation', 'stream_state', 'backfill', 'shape', 'dead_letter', 'ledger_' || $2::text, 'dead_letter_' || $2::text]::name[]
    )
    UNION ALL
    SELECT c.relname, c.relkind, c.relowner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relname >= ('vectors_' || $2::text || '_0')::name AND c.relname < ('vectors_' || $2::text || '_:')::name
    WHERE c.relkind NOT IN ('i', 'I')
)

SELECT f.name, f.kind, o.rolname::text, o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text, session_user::text
FROM (
    SELECT '' AS name, '' AS kind, s.owner
    FROM schema AS s
    UNION ALL
    SELECT r.relname::text, r.relkind::text, r.relowner
    FROM relation AS r
) AS f
JOIN pg_catalog.pg_roles AS o ON o.oid = f.owner
WHERE f.kind = '' OR f.kind NOT IN ('r', 'p') OR NOT (o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text)
ORDER BY f.name
