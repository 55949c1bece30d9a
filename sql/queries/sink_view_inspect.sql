-- What has the name of the view ($1, $2), a type (T) too, since a view makes one of its name, and whose it is; $3 is wal2vec's schema, $4 are the pipeline's vector tables, $5 the columns of the view in their order.
SELECT
    c.relkind::text,
    c.relkind = 'v' AND o.some AS ours,
    o.alike AND o.one AS made,
    o.alike AND o.one AND o.owner AS droppable,
    -- What init writes, as the server prints it (before 16 with the table's name before each column). It calls nothing: a view's functions run as who
    -- reads it, whatever role owns it.
    o.alike AND o.one AND CASE WHEN pg_catalog.current_setting('server_version_num')::int < 160000
        THEN pg_catalog.replace(pg_catalog.pg_get_viewdef(c.oid), pg_catalog.quote_ident(o.relation) || '.', '') ELSE pg_catalog.pg_get_viewdef(c.oid)
    END = pg_catalog.concat(
        ' SELECT ',
        (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(w.name), ',' || pg_catalog.chr(10) || '    ' ORDER BY w.place)
            FROM pg_catalog.unnest($5::text[]) WITH ORDINALITY AS w (name, place)
        ),
        pg_catalog.chr(10) || '   FROM ', pg_catalog.quote_ident(o.schema), '.', pg_catalog.quote_ident(o.relation), ';'
    ) AS plain,
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
    ), 0),
    pg_catalog.pg_get_userbyid(c.relowner)::text
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
        coalesce(bool_and(t.relowner = c.relowner), false) AS owner,
        min(tn.nspname::text) AS schema,
        min(t.relname::text) AS relation
    FROM pg_catalog.pg_rewrite AS r
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_catalog.pg_class AS t ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid AND t.oid <> c.oid
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
    WHERE r.ev_class = c.oid
) AS o
WHERE n.nspname = $1 AND c.relname = $2
UNION ALL
SELECT 'T', false, false, false, false, '', 0, pg_catalog.pg_get_userbyid(y.typowner)::text
FROM pg_catalog.pg_type AS y
JOIN pg_catalog.pg_namespace AS n ON n.oid = y.typnamespace
WHERE n.nspname = $1 AND y.typname = $2 AND y.typrelid = 0
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS e WHERE e.typarray = y.oid) -- the server renames such a one
