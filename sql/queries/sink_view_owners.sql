-- The schema of the view ($1), and the view ($2) where there is one: who owns each, and whether that is a role that is trusted: this one, a superuser, or
-- the one that the settings name ($3).
SELECT f.name, o.rolname::text, o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text
FROM (
    SELECT '' AS name, CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS owner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1::text
    UNION ALL
    SELECT c.relname::text, c.relowner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = $2::text
    WHERE n.nspname = $1::text
) AS f
JOIN pg_catalog.pg_roles AS o ON o.oid = f.owner
ORDER BY f.name
