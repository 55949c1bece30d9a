-- Who owns the publication ($1) and the table ($2, an object id), and whether the publication's owner may decide what is published of it: this role, a
-- superuser, or a role with the rights of the table's owner, as the swap role has them; and whether it carries other tables. No row where one of them does
-- not exist.
SELECT
    o.rolname::text,
    pg_catalog.pg_get_userbyid(c.relowner)::text,
    o.rolname = SESSION_USER OR o.rolsuper OR pg_catalog.pg_has_role(o.oid, c.relowner, 'MEMBER'),
    p.puballtables
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid <> c.oid)
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS tn ON tn.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS tc ON tc.relnamespace = tn.oid AND tc.relname = t.tablename
        WHERE t.pubname = p.pubname
          AND tc.oid <> c.oid
          AND COALESCE(pg_catalog.pg_partition_root(tc.oid)::oid, tc.oid) <> c.oid
    )
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_roles AS o ON o.oid = p.pubowner
CROSS JOIN pg_catalog.pg_class AS c
WHERE p.pubname = $1
  AND c.oid = $2
