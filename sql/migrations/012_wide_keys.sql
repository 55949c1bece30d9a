-- What the source's own index of the key holds has room in ours. A text may fill an entry, so the vectors of such keys have no hash in their index;
-- dead letters are found by a hash of their key, of any length. The vectors of other keys are left as they are.
DO $wal2vec$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT
            pg_catalog.format('%I.%I', n.nspname, t.relname) AS letters, t.relname AS name, x.conname AS was, p.name AS pipeline
        FROM {{.Schema}}.pipeline AS p
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = {{.SchemaName}}
        JOIN pg_catalog.pg_class AS t ON t.relnamespace = n.oid AND t.relname = 'dead_letter_' || p.name AND t.relkind = 'r'
        JOIN pg_catalog.pg_constraint AS x ON x.conrelid = t.oid AND x.contype = 'p'
        ORDER BY p.name
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER TABLE %1$s DROP CONSTRAINT %2$I, '
            'ADD CONSTRAINT %3$I EXCLUDE USING hash ('
            '(CASE WHEN pg_catalog.array_ndims(key) = 1 THEN pg_catalog.array_append(key, generation::text) END) WITH OPERATOR(pg_catalog.=))',
            found.letters, found.was, 'pkey_dead_letter_' || found.pipeline
        );
        -- Without a primary key its DELETEs would be refused where a publication is of all tables, and sink and source are one database.
        EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', found.letters);
        EXECUTE pg_catalog.format('CREATE INDEX %I ON %s USING hash (key)', 'key_dead_letter_' || found.pipeline, found.letters);
    END LOOP;
    FOR found IN
        SELECT
            pg_catalog.format('%I.%I', n.nspname, t.relname) AS vectors, x.conname AS pkey,
            (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(u.name), ', ' ORDER BY u.place)
                FROM pg_catalog.unnest(p.key_columns) WITH ORDINALITY AS u (name, place)
            ) AS keys
        FROM {{.Schema}}.pipeline AS p
        JOIN {{.Schema}}.generation AS g ON g.pipeline = p.name AND g.state <> 'retired'
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = {{.SchemaName}}
        JOIN pg_catalog.pg_class AS t ON t.relnamespace = n.oid AND t.relname = g.vector_table AND t.relkind = 'r'
        JOIN pg_catalog.pg_constraint AS x ON x.conrelid = t.oid AND x.contype = 'p'
        JOIN pg_catalog.pg_index AS i ON i.indexrelid = x.conindid AND i.indnatts > i.indnkeyatts
        WHERE EXISTS (
            SELECT FROM pg_catalog.unnest(p.key_types) AS y (type)
            WHERE y.type = 'text' OR y.type LIKE 'character varying%'
        )
        ORDER BY 1
    LOOP
        -- Reads the table once, under a lock that a stream waits for: 275,000 rows take about a second.
        EXECUTE pg_catalog.format('ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I PRIMARY KEY (%3$s)', found.vectors, found.pkey, found.keys);
    END LOOP;
END
$wal2vec$;
