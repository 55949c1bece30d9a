-- With which list of columns the publication ($1) is to carry the new table ($2): the one that the tables of the same owner have in common that it
-- lists, but for those that another pipeline's function prepares (that of this one is $3, its name with schema, quoted), with what was known of it
-- ($4, sorted; NULL for nothing). How many lists there are, whether rows are filtered, the list (empty for none), those of its columns that the new
-- table has not, and those of the table's replica identity that it leaves out. The function does the same; a column list came with PostgreSQL 15.
WITH new AS (
    SELECT c.oid, c.relowner, c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid = $2
), lists AS (
    SELECT
        CASE
            WHEN pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(r) -> 'prattrs') = 'array' THEN ARRAY(
                SELECT a.attname::text
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = r.prrelid AND pg_catalog.to_jsonb(r) -> 'prattrs' @> pg_catalog.to_jsonb(a.attnum)
                ORDER BY a.attname::text COLLATE "C"
            )
            ELSE ARRAY[]::text[]
        END AS list,
        COALESCE(pg_catalog.to_jsonb(r) ->> 'prqual', '') <> '' AS filtered
    FROM new AS n
    JOIN pg_catalog.pg_publication AS p ON p.pubname = $1
    JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid AND c.relowner = n.relowner
    WHERE NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS f
        WHERE f.pronamespace = c.relnamespace AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
            AND f.prosecdef AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
            AND f.oid IS DISTINCT FROM pg_catalog.to_regprocedure($3 || '()')
            AND pg_catalog.strpos(f.prosrc, pg_catalog.format(E'    table_name CONSTANT text := %L;\n', c.relname)) > 0
    )
    UNION ALL
    SELECT $4::text[], false WHERE $4::text[] IS NOT NULL
), common AS (
    SELECT
        pg_catalog.count(DISTINCT l.list)::int AS n,
        COALESCE(pg_catalog.bool_or(l.filtered), false) AS filtered,
        COALESCE((SELECT f.list FROM lists AS f LIMIT 1), ARRAY[]::text[]) AS list
    FROM lists AS l
)
SELECT
    c.n,
    c.filtered,
    c.list,
    ARRAY(
        SELECT l.name
        FROM pg_catalog.unnest(c.list) AS l (name)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $2 AND a.attname = l.name AND a.attnum > 0 AND NOT a.attisdropped)
    ),
    ARRAY(
        SELECT a.attname::text
        FROM new AS n
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname <> ALL (c.list)
            AND (
                n.relreplident = 'f'
                OR EXISTS (
                    SELECT
                    FROM pg_catalog.pg_index AS i
                    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                    WHERE i.indrelid = n.oid AND (n.relreplident = 'd' AND i.indisprimary OR n.relreplident = 'i' AND i.indisreplident)
                        AND k.place <= i.indnkeyatts AND k.attnum = a.attnum
                )
            )
    )
FROM common AS c
