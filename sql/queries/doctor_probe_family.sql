-- The table ($1) and all below it, by their names, quoted.
WITH RECURSIVE family (oid) AS (
    SELECT $1::text::pg_catalog.regclass::oid
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM family AS f
JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
ORDER BY c.oid
