-- How columns of the table ($1, $2) may be compared and turned into text, where it is not as any: text for what is text already; enum and foreign for
-- what comes down to a type of another role, which is no superuser. That role's casts and functions run wherever a query casts it or reads a value of it.
WITH RECURSIVE down (name, declared, oid) AS (
    SELECT a.attname::text, a.atttypid, a.atttypid
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT d.name, d.declared, y.typbasetype
    FROM down AS d
    JOIN pg_catalog.pg_type AS y ON y.oid = d.oid
    WHERE y.typtype = 'd'
)
SELECT d.name, CASE WHEN d.oid < 16384 THEN 'text' WHEN y.typtype = 'e' AND d.oid = d.declared THEN 'enum' ELSE 'foreign' END
FROM down AS d
JOIN pg_catalog.pg_type AS y ON y.oid = d.oid
JOIN pg_catalog.pg_roles AS o ON o.oid = y.typowner
WHERE y.typtype <> 'd'
  AND CASE WHEN d.oid < 16384 THEN d.declared IN ('pg_catalog.text'::regtype, 'pg_catalog.varchar'::regtype) ELSE NOT o.rolsuper AND o.rolname <> SESSION_USER END
