-- Why the stream ended that ended last, where that was a gap: some are found in the log alone, which who looks from outside does not read. NULL: it did
-- not end so, or one has streamed since.
ALTER TABLE {{.Schema}}.stream_state
    ADD COLUMN gap text CHECK (pg_catalog.length(gap) <= 1000);

-- Who reports writes it too.
DO $wal2vec$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) AS grantee
        FROM pg_catalog.pg_attribute AS a
        CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
        WHERE
            a.attrelid = pg_catalog.to_regclass(pg_catalog.format('%I.stream_state', {{.SchemaName}}))::oid AND a.attname = 'reported_at'
            AND x.privilege_type = 'UPDATE' AND x.grantee <> 0
    LOOP
        EXECUTE pg_catalog.format('GRANT UPDATE (gap) ON TABLE %I.stream_state TO %s', {{.SchemaName}}, given.grantee);
    END LOOP;
END
$wal2vec$;
