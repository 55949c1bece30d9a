-- The tables that wal2vec published, by the last line of the comment of the publication ($1) or that the caller names ($2, object ids), that
-- exist: whether each is listed by itself, and its indexes that wal2vec made on the key. A noted table counts where the publication's owner, who alone
-- could note it, has its owner's rights, and where it has the columns ($3): object ids of another server mean nothing here.
SELECT
    c.oid,
    n.nspname::text,
    c.relname::text,
    EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = c.oid),
    -- Only the table's owner could give one on it such a name. That of earlier versions has no end that is random.
    ARRAY(
        SELECT i.relname::text
        FROM pg_catalog.pg_index AS k
        JOIN pg_catalog.pg_class AS i ON i.oid = k.indexrelid
        WHERE k.indrelid = c.oid AND i.relname ~ ('^wal2vec_key_' || c.oid::text || '(_[0-9a-f]{32})?$')
        ORDER BY 1
    ),
    EXISTS (
        SELECT
        FROM pg_catalog.pg_index AS k
        JOIN pg_catalog.pg_class AS i ON i.oid = k.indexrelid
        WHERE k.indrelid = c.oid AND i.relname ~ ('^wal2vec_key_' || c.oid::text || '(_[0-9a-f]{32})?$') AND k.indisreplident
    )
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_publication AS p ON p.pubname = $1
WHERE
    c.relkind IN ('r', 'p')
    AND (
        c.oid = ANY ($2::oid[])
        OR c.oid::text = ANY (pg_catalog.string_to_array(
            pg_catalog.substring(pg_catalog.obj_description(p.oid, 'pg_publication'), '(?:^|\n)wal2vec tables: ([0-9 ]*)$'), ' '
        ))
        AND pg_catalog.pg_has_role(p.pubowner, c.relowner, 'USAGE')
        AND NOT EXISTS (
            SELECT
            FROM pg_catalog.unnest($3::text[]) AS w (name)
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped)
        )
    )
ORDER BY c.oid
