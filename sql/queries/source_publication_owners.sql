-- What the publication ($1) publishes that is another owner's: of tables whose owner's rights neither the role ($2; it may be one that does not exist yet) nor the owner of the
-- table ($3, an object id) has, whose rights that role is to have; a partition counts as its root. An owner of the publication may take any table out of it.
SELECT DISTINCT pg_catalog.format('%I.%I of role %I', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner))
FROM pg_catalog.pg_publication AS p
CROSS JOIN LATERAL (
    SELECT r.prrelid AS oid FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid
    UNION
    SELECT COALESCE(pg_catalog.pg_partition_root(tc.oid)::oid, tc.oid)
    FROM pg_catalog.pg_publication_tables AS t
    JOIN pg_catalog.pg_namespace AS tn ON tn.nspname = t.schemaname
    JOIN pg_catalog.pg_class AS tc ON tc.relnamespace = tn.oid AND tc.relname = t.tablename
    WHERE t.pubname = p.pubname
) AS listed
JOIN pg_catalog.pg_class AS c ON c.oid = listed.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.pubname = $1
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_roles AS o
        WHERE (o.rolname = $2 OR o.oid = (SELECT own.relowner FROM pg_catalog.pg_class AS own WHERE own.oid = $3))
            AND pg_catalog.pg_has_role(o.oid, c.relowner, 'USAGE')
    )
ORDER BY 1
