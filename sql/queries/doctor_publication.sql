-- Whether the roles of their owners are ours, of publication ($1) and table ($2), whether tables that the table's owner makes in its schema will
-- be readable, how many other tables are published, and whether the publication is of all tables.
SELECT
    coalesce((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1), false),
    coalesce((SELECT o.rolname::text FROM pg_catalog.pg_publication AS p JOIN pg_catalog.pg_roles AS o ON o.oid = p.pubowner WHERE p.pubname = $1), ''),
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    pg_catalog.pg_get_userbyid(c.relowner)::text,
    pg_catalog.pg_has_role('pg_read_all_data', 'USAGE') OR EXISTS (
        SELECT
        FROM pg_catalog.pg_default_acl AS d
        CROSS JOIN pg_catalog.aclexplode(d.defaclacl) AS a
        WHERE d.defaclrole = c.relowner AND d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, c.relnamespace) AND a.privilege_type = 'SELECT'
          AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))
    ),
    c.relkind = 'p',
    (
        SELECT pg_catalog.count(*)::int
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS o ON o.relnamespace = n.oid AND o.relname = t.tablename
        WHERE t.pubname = $1 AND o.oid <> c.oid
    ),
    coalesce((SELECT p.puballtables FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1), false)
FROM pg_catalog.pg_class AS c
WHERE c.oid = $2
