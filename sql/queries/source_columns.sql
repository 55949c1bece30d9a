-- What role $2 ('' for this session's) may read. The base type is that of a domain, and of any other type itself, without a modifier.
SELECT
    a.attname::text,
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    a.atttypid,
    base.oid,
    pg_catalog.format_type(base.oid, NULL),
    COALESCE((SELECT c.collname::text FROM pg_catalog.pg_collation AS c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic), ''),
    a.attnotnull,
    a.attgenerated::text,
    pg_catalog.has_column_privilege(COALESCE(NULLIF($2::text, ''), CURRENT_USER::text)::name, a.attrelid, a.attnum, 'SELECT')
FROM pg_catalog.pg_attribute AS a
CROSS JOIN LATERAL (
    WITH RECURSIVE below AS (
        SELECT t.oid, t.typtype, t.typbasetype
        FROM pg_catalog.pg_type AS t
        WHERE t.oid = a.atttypid
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype
        FROM below AS b
        JOIN pg_catalog.pg_type AS t ON t.oid = b.typbasetype
        WHERE b.typtype = 'd'
    )
    SELECT b.oid FROM below AS b WHERE b.typtype <> 'd'
) AS base
WHERE a.attrelid = $1
  AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attnum
