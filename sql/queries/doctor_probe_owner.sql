-- The first role that owns the table ($1) or one below it and is not this session's own: SET ROLE, also by a setting of the database, is no wall. Or the
-- one that owns the table's schema, and could not act as this one anyway: it can give the schema's name to another, whose table is then the one of that
-- name. A lock keeps the table, not the name. No row where there is none; what is owned, and by whom.
WITH RECURSIVE family (oid) AS (
    SELECT $1::text::pg_catalog.regclass::oid
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
)
SELECT x.what, x.role
FROM (
    SELECT 1 AS rank, c.oid, 'owner' AS what, o.rolname::text AS role
    FROM family AS f
    JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
    JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
    WHERE o.rolname <> SESSION_USER
    UNION ALL
    SELECT 2, n.oid, 'owner of its schema', o.rolname::text
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    JOIN pg_catalog.pg_roles AS o ON o.oid = CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END
    WHERE c.oid = $1::text::pg_catalog.regclass AND NOT pg_catalog.pg_has_role(o.oid, SESSION_USER, 'MEMBER')
) AS x
ORDER BY x.rank, x.oid
LIMIT 1
