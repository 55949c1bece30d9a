-- The name of a table that the publication ($1) lists by itself, by its object id ($2); none where it does not, or has gone.
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.pubname = $1
  AND c.oid = $2
