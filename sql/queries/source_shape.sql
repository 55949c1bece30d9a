-- What decides, besides the rows themselves, which rows the table ($1) has and what its columns ($2) print: one mark a row, as change.Shape
-- names them. $3 is the publication, $4 the key.
WITH RECURSIVE columns AS (
    SELECT
        a.attname, a.attnum, a.atttypid, a.atttypmod, a.attgenerated, a.xmin AS altered, r.relfilenode,
        -- Earlier versions took a domain over boolean for another type: this opens the refresh that puts its rows right.
        (
            WITH RECURSIVE below AS (
                SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = a.atttypid
                UNION ALL
                SELECT t.oid, t.typbasetype FROM below AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.typbasetype
            )
            SELECT 'boolean' FROM below AS b WHERE b.oid = 'pg_catalog.bool'::pg_catalog.regtype AND b.oid <> a.atttypid
        ) AS truth,
        CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS computed,
        -- What may be altered and says nothing of the values.
        pg_catalog.md5(pg_catalog.concat_ws(
            ' ', a.attnotnull, a.atthasdef, a.attidentity, a.attstattarget, a.attstorage, a.attcompression, a.attislocal, a.attinhcount, a.attacl, a.attoptions
        )) AS manner
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS r ON r.oid = a.attrelid
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = $1::oid
      AND a.attname::text = ANY ($2::text[])
      AND a.attnum > 0
      AND NOT a.attisdropped
), types (oid) AS (
    SELECT c.atttypid FROM columns AS c
    UNION
    SELECT part.oid
    FROM types AS t
    CROSS JOIN LATERAL (
        SELECT p.typelem AS oid FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT p.typbasetype FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        UNION ALL
        SELECT a.atttypid
        FROM pg_catalog.pg_type AS p
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.typrelid
        WHERE p.oid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part
    WHERE part.oid <> 0
), partitions AS (
    SELECT
        c.oid, c.relname,
        -- With the transactions that attached it, and what it is a part of: a partition that was changed outside has the same file.
        pg_catalog.concat_ws(' ', c.relfilenode, (
            SELECT pg_catalog.string_agg(i.inhrelid::text || ':' || i.xmin::text, ' ' ORDER BY i.inhrelid)
            FROM pg_catalog.pg_partition_ancestors(c.oid::regclass) AS ancestor
            JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = ancestor.relid
        )) AS place
    FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
    WHERE p.isleaf AND c.oid <> $1::oid
)
SELECT 'column ' || $1::oid::text || ' ' || c.attname, pg_catalog.concat_ws(' ', c.attnum, c.atttypid, c.atttypmod, c.attgenerated, c.computed, c.truth)
FROM columns AS c
UNION ALL
SELECT 'rewrite ' || $1::oid::text || ' ' || c.attname, pg_catalog.concat_ws(' ', c.altered, c.relfilenode, c.manner)
FROM columns AS c
UNION ALL
SELECT 'type ' || t.oid::text, pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
FROM types AS t
JOIN pg_catalog.pg_type AS p ON p.oid = t.oid
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.typrelid
WHERE a.attnum > 0 -- also those that came and went
GROUP BY t.oid
UNION ALL
SELECT 'label ' || e.oid::text, e.xmin::text || ' ' || e.enumlabel::text
FROM types AS t
JOIN pg_catalog.pg_enum AS e ON e.enumtypid = t.oid
UNION ALL
SELECT mark.name || ' ' || $1::oid::text || ' ' || p.oid::text, mark.value
FROM partitions AS p
CROSS JOIN LATERAL (VALUES ('partition', p.place), ('name', p.relname::text)) AS mark (name, value)
UNION ALL
-- An UPDATE of a key under an identity that does not hold it says nothing of the key of before, and the log does not tell which identity a partition
-- had. Only one with an index that could be such an identity may have had it: then any ALTER of the partition counts.
SELECT 'identity ' || $1::oid::text || ' ' || p.oid::text, pg_catalog.concat_ws(' ', c.relreplident, (
    SELECT c.xmin::text || ' ' || pg_catalog.string_agg(i.indexrelid::text || ':' || i.xmin::text, ' ' ORDER BY i.indexrelid)
    FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND NOT $4::text[] <@ ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts
    )
    HAVING pg_catalog.count(*) > 0
))
FROM partitions AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.oid
UNION ALL
-- The rows' transactions tell what was changed and put back: what was not published in the meantime is not in the log. That of a table's dependence on
-- its schema tells of a table that was moved away and back.
SELECT 'publication ' || $1::oid::text, pg_catalog.concat_ws(' ', p.oid, p.xmin, coalesce(r.oid::text, s.place), e.place)
FROM pg_catalog.pg_publication AS p
LEFT JOIN pg_catalog.pg_publication_rel AS r
    ON r.prpubid = p.oid AND r.prrelid = $1::oid AND pg_catalog.to_jsonb(r) ->> 'prexcept' IS DISTINCT FROM 'true'
LEFT JOIN LATERAL (
    SELECT pg_catalog.concat_ws(' ', n.oid, d.xmin) AS place
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_publication_namespace AS n ON n.pnpubid = p.oid AND n.pnnspid = c.relnamespace
    LEFT JOIN pg_catalog.pg_depend AS d
        ON d.classid = 'pg_catalog.pg_class'::regclass
        AND d.objid = c.oid
        AND d.objsubid = 0
        AND d.refclassid = 'pg_catalog.pg_namespace'::regclass
    WHERE c.oid = $1::oid
) AS s ON true
-- PostgreSQL 19: FOR ALL TABLES EXCEPT the table, or one that it is a partition of. A publication that carries it again afterwards has another mark.
LEFT JOIN LATERAL (
    SELECT 'except ' || pg_catalog.string_agg(o.oid::text, ' ' ORDER BY o.oid) AS place
    FROM pg_catalog.pg_publication_rel AS o
    WHERE o.prpubid = p.oid
      AND pg_catalog.to_jsonb(o) ->> 'prexcept' = 'true'
      AND (o.prrelid = $1::oid OR o.prrelid IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($1::oid::regclass) AS a (relid)))
) AS e ON true
WHERE p.pubname::text = $3::text
  AND (r.oid IS NOT NULL OR s.place IS NOT NULL OR p.puballtables)
UNION ALL
-- An ALTER TABLE that writes the rows again, as SET LOGGED does of a table that no log told of, gives the table another TOAST table; VACUUM FULL,
-- CLUSTER and TRUNCATE do not. A table without one has its file alone to tell.
SELECT 'file ' || $1::oid::text, coalesce(nullif(c.reltoastrelid, 0), c.relfilenode)::text
FROM pg_catalog.pg_class AS c
WHERE c.oid = $1::oid
  AND c.relkind = 'r'
