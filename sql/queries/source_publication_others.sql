-- Whether the publication ($1) is for more than the tables ($2, object ids) and their partitions, and which other tables it lists by themselves.
SELECT
    p.puballtables
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid <> ALL ($2::oid[]))
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE t.pubname = p.pubname AND c.oid <> ALL ($2::oid[]) AND COALESCE(pg_catalog.pg_partition_root(c.oid)::oid, c.oid) <> ALL ($2::oid[])
    ),
    ARRAY(
        SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_publication_rel AS r
        JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE r.prpubid = p.oid AND r.prrelid <> ALL ($2::oid[])
        ORDER BY 1
    ),
    COALESCE(pg_catalog.regexp_replace(pg_catalog.obj_description(p.oid, 'pg_publication'), '(^|\n)wal2vec tables: [0-9 ]*$', ''), ''),
    COALESCE(pg_catalog.obj_description(p.oid, 'pg_publication') ~ '(^|\n)wal2vec tables: [0-9 ]*$', false)
FROM pg_catalog.pg_publication AS p
WHERE p.pubname = $1
