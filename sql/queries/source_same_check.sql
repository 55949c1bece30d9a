-- Fails where the table's name means another table than the one that was looked at, or one of another kind or owner: what comes after this in the transaction
-- goes by the name. The schema's name was kept before (source_swap_pins); the lock keeps the table's, and it is looked at once more behind it.
DO {{.Tag}}
DECLARE
    standing record;
BEGIN
    FOR look IN 1..2 LOOP
        SELECT c.oid, c.relkind, c.relowner INTO standing
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = {{.SchemaLiteral}}::name AND c.relname = {{.TableLiteral}}::name;
        IF standing.oid IS DISTINCT FROM {{.OID}}::oid OR standing.relkind IS DISTINCT FROM {{.KindLiteral}}::"char" OR standing.relowner IS DISTINCT FROM {{.Owner}}::oid THEN
            RAISE EXCEPTION USING MESSAGE = {{.MessageLiteral}}, HINT = 'Nothing was done. Look which table that is, and run wal2vec init --print-sql again.';
        END IF;
        EXIT WHEN look = 2;
        LOCK TABLE ONLY {{.Name}} IN ACCESS SHARE MODE;
    END LOOP;
END
{{.Tag}}
