-- What a publication for all tables ($1) leaves out by EXCEPT (PostgreSQL 19), and whether that is the table ($2), or one that it is a partition of.
SELECT
    n.nspname::text,
    c.relname::text,
    c.oid = $2::oid OR c.oid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($2::oid::regclass) AS a (relid))
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid AND pg_catalog.to_jsonb(r) ->> 'prexcept' = 'true'
JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.pubname = $1
ORDER BY 1, 2
