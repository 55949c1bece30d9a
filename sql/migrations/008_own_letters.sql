-- Each pipeline's dead letters become a table of its own. As partitions of one table they made init and teardown of one pipeline lock what all
-- share: the parent, and by its reference the pipelines. A reader's open transaction held them up, and streams waited behind them. The names of
-- indexes get beginnings that no table of another pipeline has: that of "pb" was the name of the ledger of "pb_dead". What a weaker role may write
-- is bounded to what can be read; what is there already is not looked at, since a damaged row must not keep the schema from being brought up to date.
DO $wal2vec$
DECLARE
    one record;
    found record;
    parts text;
BEGIN
    FOR found IN
        SELECT x.conname
        FROM pg_catalog.pg_constraint AS x
        WHERE x.conrelid = pg_catalog.to_regclass(pg_catalog.format('%I.dead_letter', {{.SchemaName}}))::oid AND x.contype = 'f'
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %I.dead_letter DROP CONSTRAINT %I', {{.SchemaName}}, found.conname);
    END LOOP;
    FOR one IN
        SELECT p.name, p.key_types, pg_catalog.format('%I.%I', n.nspname, 'dead_letter_' || p.name) AS letters
        FROM {{.Schema}}.pipeline AS p
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = {{.SchemaName}}
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'dead_letter_' || p.name AND c.relispartition
        ORDER BY p.name
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %I.dead_letter DETACH PARTITION %s', {{.SchemaName}}, one.letters);
        -- A type of another name is not one that wal2vec writes, and comes into no statement.
        SELECT pg_catalog.string_agg(pg_catalog.format(
            'CASE WHEN pg_catalog.pg_input_is_valid(key[%1$s], %2$L) THEN key[%1$s]::%2$s::pg_catalog.text = key[%1$s] END', t.place, t.type
        ), ' AND ' ORDER BY t.place) INTO parts
        FROM (
            SELECT u.place, pg_catalog.regexp_replace(u.type, '\(\d+\)$', '') AS type
            FROM pg_catalog.unnest(one.key_types) WITH ORDINALITY AS u (type, place)
        ) AS t
        WHERE t.type IN ('smallint', 'integer', 'bigint', 'character varying', 'text', 'uuid');
        EXECUTE pg_catalog.format(
            'ALTER TABLE %1$s '
            'ADD CONSTRAINT letter_pipeline CHECK (pipeline = %2$L) NOT VALID, '
            'ADD CONSTRAINT letter_key CHECK (('
            'pg_catalog.array_ndims(key) = 1 AND pg_catalog.array_lower(key, 1) = 1 AND pg_catalog.array_length(key, 1) = %3$s AND %4$s'
            ') IS TRUE) NOT VALID, '
            'ADD CONSTRAINT letter_reason CHECK (pg_catalog.length(reason) <= 4000) NOT VALID, '
            'ADD CONSTRAINT letter_counts CHECK (generation > 0 AND attempts BETWEEN 1 AND 1000000000) NOT VALID, '
            'ADD CONSTRAINT letter_times CHECK ('
            'first_at BETWEEN ''0001-01-02 00:00:00+00'' AND ''9999-12-30 00:00:00+00'' '
            'AND last_at BETWEEN ''0001-01-02 00:00:00+00'' AND ''9999-12-30 00:00:00+00'') NOT VALID',
            one.letters, one.name, pg_catalog.cardinality(one.key_types), coalesce(parts, 'true')
        );
    END LOOP;
    FOR found IN
        SELECT i.relname AS was, CASE
            WHEN x.indisprimary AND pg_catalog.starts_with(t.relname::text, 'ledger_') THEN 'pkey_ledger_' || p.name
            WHEN x.indisprimary THEN 'pkey_dead_letter_' || p.name
            ELSE 'tombstones_' || p.name
        END AS becomes
        FROM {{.Schema}}.pipeline AS p
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = {{.SchemaName}}
        JOIN pg_catalog.pg_class AS t ON t.relnamespace = n.oid AND t.relname IN ('ledger_' || p.name, 'dead_letter_' || p.name)
        JOIN pg_catalog.pg_index AS x ON x.indrelid = t.oid
        JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
        WHERE x.indisprimary OR i.relname = 'ledger_' || p.name || '_dead'
        ORDER BY 1
    LOOP
        EXECUTE pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', {{.SchemaName}}, found.was, found.becomes);
    END LOOP;
END
$wal2vec$;

DROP TABLE {{.Schema}}.dead_letter;

ALTER TABLE {{.Schema}}.pipeline
    ADD CONSTRAINT pipeline_texts CHECK (pg_catalog.length(owner) <= 1000 AND pg_catalog.length(system_id) <= 100) NOT VALID;

ALTER TABLE {{.Schema}}.generation
    ADD CONSTRAINT generation_precisions CHECK (
        coalesce(pg_catalog.array_ndims(precisions), 1) = 1 AND pg_catalog.cardinality(precisions) <= 100
        AND pg_catalog.array_position(precisions, NULL) IS NULL AND pg_catalog.length(pg_catalog.array_to_string(precisions, '')) <= 4000
    ) NOT VALID;

ALTER TABLE {{.Schema}}.backfill
    ADD CONSTRAINT backfill_cursor CHECK (
        (
            cursor IS NULL
            OR pg_catalog.array_ndims(cursor) = 1 AND pg_catalog.array_lower(cursor, 1) = 1 AND pg_catalog.array_position(cursor, NULL) IS NULL
        ) IS TRUE
        AND pg_catalog.length(pg_catalog.array_to_string(cursor, '')) <= 1048576
    ) NOT VALID,
    ADD CONSTRAINT backfill_times CHECK (updated_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00') NOT VALID;

ALTER TABLE {{.Schema}}.stream_state
    ADD CONSTRAINT stream_state_times CHECK (
        reported_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND oldest_pending BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    ) NOT VALID;

ALTER TABLE {{.Schema}}.shape
    ADD CONSTRAINT shape_marks CHECK (
        pg_catalog.jsonb_typeof(marks) = 'object' AND NOT pg_catalog.jsonb_path_exists(marks, 'strict $.* ? (@.type() != "string")')
        AND pg_catalog.length(marks::text) <= 16777216
    ) NOT VALID;
