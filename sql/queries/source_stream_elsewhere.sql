-- Tables other than the one ($1, $2) and those that are known ($3, object ids), of the owner of that one, of which a role ($4) may read the columns ($5),
-- each by a grant of that owner: it may have been given them for a stream, of a table that has lost its name since, or of a part. Not those that a
-- function of wal2vec, which the role may call, prepares: it streams them.
SELECT n.nspname::text, c.relname::text, pg_catalog.array_agg(DISTINCT a.attname::text)
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_class AS c ON c.relowner = t.relowner AND c.oid <> t.oid AND c.relkind IN ('r', 'p') AND c.oid <> ALL ($3::oid[])
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE
    tn.nspname = $1 AND t.relname = $2 AND r.rolname = $4 AND x.grantor = c.relowner AND x.privilege_type = 'SELECT'
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS f
        CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
        WHERE
            f.pronamespace = c.relnamespace AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_') AND f.prosecdef AND g.grantee = r.oid
            AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
            AND pg_catalog.strpos(f.prosrc, pg_catalog.format(E'    table_name CONSTANT text := %L;\n', c.relname)) > 0
    )
GROUP BY c.oid, n.nspname, c.relname
HAVING pg_catalog.array_agg(a.attname::text) @> $5::text[]
ORDER BY n.nspname, c.relname
