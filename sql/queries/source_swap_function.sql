-- Does for its owner, who owns the table and the publication, what wal2vec does where it runs as that owner. It takes no argument, and looks
-- at nothing but the one table and publication; a table of that name that belongs to another owner is left alone. Where it makes an index, it
-- leaves the rest to the next call.
CREATE OR REPLACE FUNCTION {{.Function}}() RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS {{.Tag}}
DECLARE
    target oid;
    owner text;
    kind "char";
    identity "char";
    missing text;
    key_index text;
    schema_name CONSTANT text := {{.SchemaLiteral}};
    table_name CONSTANT text := {{.TableLiteral}};
    key_columns CONSTANT text[] := ARRAY[{{join .KeyLiterals ", "}}]::text[];
BEGIN
    LOCK TABLE {{.Table}} IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.oid, pg_get_userbyid(c.relowner), c.relkind, c.relreplident INTO target, owner, kind, identity
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = schema_name AND c.relname = table_name;
    IF owner IS DISTINCT FROM {{.OwnerLiteral}} THEN
        RAISE EXCEPTION 'table %.% belongs to %, not to %', schema_name, table_name, owner, {{.OwnerLiteral}} USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF kind <> 'r' THEN
        RAISE EXCEPTION '%.% is not an ordinary table', schema_name, table_name USING ERRCODE = 'feature_not_supported';
    END IF;
    SELECT string_agg(format('ALTER COLUMN %I SET NOT NULL', a.attname), ', ' ORDER BY a.attnum) INTO missing
    FROM pg_attribute AS a
    WHERE a.attrelid = target AND a.attname = ANY (key_columns) AND NOT a.attnotnull AND NOT a.attisdropped;
    SELECT ic.relname INTO key_index
    FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = target AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
        AND i.indnkeyatts = cardinality(key_columns)
        AND (
            SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C")
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE k.place <= i.indnkeyatts
        ) = (SELECT array_agg(c ORDER BY c COLLATE "C") FROM unnest(key_columns) AS c)
    ORDER BY i.indisprimary DESC, ic.relname
    LIMIT 1;
    IF key_index IS NULL THEN
        key_index := 'wal2vec_key_' || target;
        EXECUTE format(
            'CREATE UNIQUE INDEX %I ON %I.%I (%s)', key_index, schema_name, table_name,
            (SELECT string_agg(quote_ident(k.name), ', ' ORDER BY k.place) FROM unnest(key_columns) WITH ORDINALITY AS k (name, place))
        );
        RETURN;
    END IF;
    IF missing IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %I.%I ', schema_name, table_name) || missing;
    END IF;
    IF identity <> 'f' AND NOT EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = target AND (identity = 'd' AND i.indisprimary AND i.indimmediate OR identity = 'i' AND i.indisreplident)
            AND key_columns <@ (
                SELECT array_agg(a.attname::text)
                FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE k.place <= i.indnkeyatts
            )
    ) THEN
        EXECUTE format('ALTER TABLE %I.%I REPLICA IDENTITY USING INDEX %I', schema_name, table_name, key_index);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_publication_tables AS t
        WHERE t.pubname = {{.PublicationLiteral}} AND t.schemaname = schema_name AND t.tablename = table_name
    ) THEN
        ALTER PUBLICATION {{.Publication}} ADD TABLE ONLY {{.Table}};
    END IF;
END
{{.Tag}}
