-- The last transaction of the source's log that was written: with it the log is known again after the source came back from an older copy of its
-- disks. All NULL: not known yet. A position without a number: none has come since.
ALTER TABLE {{.Schema}}.pipeline
    ADD COLUMN last_lsn pg_lsn,
    ADD COLUMN last_xid bigint CHECK (last_xid BETWEEN 0 AND 4294967295),
    ADD COLUMN last_committed_at timestamptz CHECK (pg_catalog.isfinite(last_committed_at));

-- Who moves the watermark moves them with it.
DO $wal2vec$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) AS grantee
        FROM pg_catalog.pg_attribute AS a
        CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
        WHERE
            a.attrelid = pg_catalog.to_regclass(pg_catalog.format('%I.pipeline', {{.SchemaName}}))::oid AND a.attname = 'watermark'
            AND x.privilege_type = 'UPDATE' AND x.grantee <> 0
    LOOP
        EXECUTE pg_catalog.format('GRANT UPDATE (last_lsn, last_xid, last_committed_at) ON TABLE %I.pipeline TO %s', {{.SchemaName}}, given.grantee);
    END LOOP;
END
$wal2vec$;
