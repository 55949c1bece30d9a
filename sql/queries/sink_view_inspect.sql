-- What has the name of the view ($1, $2); $3 is wal2vec's schema, $4 are the pipeline's vector tables, $5 the columns of the view in their order.
SELECT
    c.relkind::text,
    c.relkind = 'v' AND o.some AS ours,
    o.alike AND o.one AS made,
    o.alike AND o.one AND o.owner AS droppable,
    coalesce((
        SELECT format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod))
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND y.typname IN ('vector', 'halfvec')
        ORDER BY a.attnum
        LIMIT 1
    ), ''),
    coalesce((
        SELECT max(a.atttypmod)
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND y.typname IN ('vector', 'halfvec')
    ), 0)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT
        c.relkind = 'v' AND ARRAY(
            SELECT a.attname::text
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
        ) = $5::text[] AS alike,
        coalesce(bool_or(tn.nspname = $3 AND t.relname = ANY ($4)), false) AS some,
        -- It shows nothing else.
        coalesce(bool_and(tn.nspname = $3 AND t.relname = ANY ($4)), false) AND count(DISTINCT t.oid) = 1 AS one,
        coalesce(bool_and(t.relowner = c.relowner), false) AS owner
    FROM pg_catalog.pg_rewrite AS r
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_catalog.pg_class AS t ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid AND t.oid <> c.oid
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
    WHERE r.ev_class = c.oid
) AS o
WHERE n.nspname = $1 AND c.relname = $2
