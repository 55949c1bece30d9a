-- Whether the publication ($1) is for more than the table ($2, an object id) and its partitions.
SELECT
    p.puballtables
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid <> $2)
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE t.pubname = p.pubname AND $2 NOT IN (c.oid, COALESCE(pg_catalog.pg_partition_root(c.oid)::oid, c.oid))
    )
FROM pg_catalog.pg_publication AS p
WHERE p.pubname = $1
