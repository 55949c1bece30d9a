-- Whose the schema is that pgvector is in: its name, its owner as the catalogue has it, the role that this is (of pg_database_owner, the one that owns the
-- database), and whether that one is trusted: this role, a superuser, or the one that the settings name ($1). No row where pgvector is not there.
SELECT
    n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text, o.rolname::text, o.rolsuper OR o.rolname = session_user OR o.rolname = $1::text
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_roles AS o ON o.oid = CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END
WHERE e.extname = 'vector'
