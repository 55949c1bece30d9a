-- One row also when there is no such publication ($1) or table ($2, an object id). What not every version has is read through jsonb.
SELECT
    p.oid IS NOT NULL,
    COALESCE(p.pubinsert, false),
    COALESCE(p.pubupdate, false),
    COALESCE(p.pubdelete, false),
    COALESCE(p.pubtruncate, false),
    COALESCE(p.pubviaroot, false),
    COALESCE(pg_catalog.to_jsonb(p) ->> 'pubgencols', 'n') = 's',
    EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE t.pubname = p.pubname
          AND c.oid = $2
    ),
    COALESCE(pg_catalog.to_jsonb(r) ->> 'prqual', '') <> '',
    CASE
        WHEN pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(r) -> 'prattrs') = 'array' THEN ARRAY(
            SELECT a.attname::text
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = r.prrelid
              AND pg_catalog.to_jsonb(r) -> 'prattrs' @> pg_catalog.to_jsonb(a.attnum)
        )
    END,
    COALESCE((SELECT c.relkind = 'p' FROM pg_catalog.pg_class AS c WHERE c.oid = $2), false),
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = $2
          AND a.attgenerated <> ''
          AND NOT a.attisdropped
    ),
    -- Those of them that a publication can carry.
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = $2
          AND a.attgenerated = 's'
          AND pg_catalog.current_setting('server_version_num')::int >= 180000
          AND NOT a.attisdropped
    ),
    -- The last line of its comment notes which tables wal2vec has published. Here is what stands before it, and those of them that exist.
    COALESCE(pg_catalog.regexp_replace(pg_catalog.obj_description(p.oid, 'pg_publication'), '(^|\n)wal2vec tables: [0-9 ]*$', ''), ''),
    ARRAY(
        SELECT c.oid
        FROM pg_catalog.pg_class AS c
        WHERE c.oid::text = ANY (pg_catalog.string_to_array(
            pg_catalog.substring(pg_catalog.obj_description(p.oid, 'pg_publication'), '(?:^|\n)wal2vec tables: ([0-9 ]*)$'), ' '
        ))
        ORDER BY c.oid
    ),
    COALESCE(p.puballtables, false),
    -- Whether it carries more than the table and its partitions.
    COALESCE(p.puballtables, false)
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_rel AS o
        WHERE o.prpubid = p.oid AND o.prrelid <> $2
    )
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE t.pubname = p.pubname
          AND c.oid <> $2
          AND COALESCE(pg_catalog.pg_partition_root(c.oid)::oid, c.oid) <> $2
    )
FROM (VALUES ($1::text)) AS wanted (name)
LEFT JOIN pg_catalog.pg_publication AS p ON p.pubname = wanted.name
LEFT JOIN pg_catalog.pg_publication_rel AS r
    ON r.prpubid = p.oid AND r.prrelid = $2 AND pg_catalog.to_jsonb(r) ->> 'prexcept' IS DISTINCT FROM 'true'
