-- The schemas of a table ($1) and of its partitions, and the object ids of these.
WITH RECURSIVE relations (oid) AS (
    SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid = $1
    UNION
    SELECT i.inhrelid FROM relations AS r JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.oid
)
SELECT
    COALESCE(pg_catalog.array_agg(DISTINCT n.nspname::text), ARRAY[]::text[]),
    COALESCE(pg_catalog.array_agg(r.oid), ARRAY[]::oid[])
FROM relations AS r
JOIN pg_catalog.pg_class AS c ON c.oid = r.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
