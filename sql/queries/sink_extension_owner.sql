-- Whose the schema is that pgvector is in: its name, the role that owns it (of pg_database_owner, the one that owns the database), and whether that one is
-- trusted: this role, a superuser, or the one that the settings name ($1). A name that no schema has, and the first that may make things there without being
-- trusted ('' for none), whether that is PUBLIC, and who gave it that ('' for the schema's owner); of the schema public, which is for things of others too,
-- PUBLIC alone. No row where pgvector is not there.
SELECT
    n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text, o.rolname::text, o.rolsuper OR o.rolname = session_user OR o.rolname = $1::text,
    (
        SELECT free.name
        FROM (SELECT 'pgvector' || COALESCE('_' || NULLIF(g.n, 1), '') AS name, g.n FROM pg_catalog.generate_series(1, 1000) AS g (n)) AS free
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace AS s WHERE s.nspname = free.name)
        ORDER BY free.n
        LIMIT 1
    ),
    COALESCE(k.name, ''), COALESCE(k.everybody, false), COALESCE(k.giver, '')
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_roles AS o ON o.oid = CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END
LEFT JOIN LATERAL (
    SELECT COALESCE(m.rolname::text, 'PUBLIC') AS name, a.grantee = 0 AS everybody,
        CASE WHEN a.grantor <> n.nspowner THEN pg_catalog.pg_get_userbyid(a.grantor)::text END AS giver
    FROM pg_catalog.aclexplode(n.nspacl) AS a
    LEFT JOIN pg_catalog.pg_roles AS m ON m.oid = CASE WHEN a.grantee = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE a.grantee END
    WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
      AND CASE
          WHEN a.grantee = 0 THEN true
          ELSE n.nspname <> 'public' AND NOT (m.rolsuper OR m.rolname = session_user OR m.rolname = $1::text)
      END
    ORDER BY a.grantor <> n.nspowner, a.grantee
    LIMIT 1
) AS k ON true
WHERE e.extname = 'vector'
