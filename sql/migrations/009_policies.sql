-- Row policies name wal2vec's schema by its number, and no longer by the name that it had when they were made: after ALTER SCHEMA ... RENAME another role
-- could make a schema of the old name, with ledgers of its own, and let who reads or writes those act for the pipelines here. PostgreSQL keeps the number
-- of such a constant, and a dump has the name of then.
DO $wal2vec$
DECLARE
    shared record;
    access record;
BEGIN
    FOR shared IN
        SELECT *
        FROM (VALUES
            ('pipeline', 'name'), ('generation', 'pipeline'), ('stream_state', 'pipeline'), ('backfill', 'pipeline'), ('shape', 'pipeline')
        ) AS t (name, belongs)
    LOOP
        FOR access IN SELECT * FROM (VALUES ('readers', 'SELECT'), ('writers', 'UPDATE')) AS t (policy, needs) LOOP
            EXECUTE pg_catalog.format(
                'ALTER POLICY %5$s ON %1$I.%2$I USING ('
                'pg_catalog.has_table_privilege(pg_catalog.to_regclass(pg_catalog.format(%3$L, %4$L::pg_catalog.regnamespace, %6$I)), %7$L))',
                {{.SchemaName}}, shared.name, '%s.ledger_%s', pg_catalog.quote_ident({{.SchemaName}}), access.policy, shared.belongs, access.needs
            );
        END LOOP;
    END LOOP;
END
$wal2vec$;

-- A TRUNCATE of a later epoch than the pipeline's had every chunk of a backfill read again, without an end. A stream's role could write it.
UPDATE {{.Schema}}.pipeline
SET truncated_epoch = NULL, truncated_at = NULL
WHERE truncated_epoch > epoch;

ALTER TABLE {{.Schema}}.pipeline
    ADD CONSTRAINT pipeline_epochs CHECK (epoch BETWEEN 0 AND 4611686018427387903 AND truncated_epoch <= epoch) NOT VALID;
