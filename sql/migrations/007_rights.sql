-- Rights are by pipeline. What earlier versions gave on tables to come goes first: tables come below.
DO $wal2vec$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT
            pg_catalog.pg_get_userbyid(d.defaclrole) AS giver,
            CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_catalog.pg_default_acl AS d
        JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS x
        WHERE n.nspname = {{.SchemaName}} AND d.defaclobjtype = 'r' AND x.grantee <> d.defaclrole AND pg_catalog.pg_has_role(d.defaclrole, 'MEMBER')
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I REVOKE ALL ON TABLES FROM %s', given.giver, {{.SchemaName}}, given.grantee
        );
    END LOOP;
END
$wal2vec$;

-- The slot that a pipeline may have is its owner's to name: who streams gives it up and takes it again.
ALTER TABLE {{.Schema}}.pipeline
    ADD COLUMN slot_name text;

UPDATE {{.Schema}}.pipeline SET slot_name = nullif(slot, '');

ALTER TABLE {{.Schema}}.pipeline
    ADD CONSTRAINT pipeline_slot CHECK (slot = '' OR slot_name IS NOT NULL AND slot = slot_name);

-- Dead letters are looked up by key while rows are written. A row policy would keep that from using the index, since arrays are not compared by
-- a leakproof function: each pipeline has a partition with rights of its own.
ALTER TABLE {{.Schema}}.dead_letter RENAME TO "dead letters before";

CREATE TABLE {{.Schema}}.dead_letter (
    pipeline text NOT NULL REFERENCES {{.Schema}}.pipeline,
    key text[] NOT NULL,
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    lsn pg_lsn NOT NULL,
    text_hash bytea NOT NULL CHECK (pg_catalog.length(text_hash) = 16),
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    last_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (pipeline, key, generation)
) PARTITION BY LIST (pipeline);

DO $wal2vec$
DECLARE
    one text;
BEGIN
    FOR one IN SELECT name FROM {{.Schema}}.pipeline LOOP
        EXECUTE pg_catalog.format(
            'CREATE TABLE %1$I.%2$I PARTITION OF %1$I.dead_letter FOR VALUES IN (%3$L)', {{.SchemaName}}, 'dead_letter_' || one, one
        );
    END LOOP;
END
$wal2vec$;

INSERT INTO {{.Schema}}.dead_letter (pipeline, key, generation, epoch, lsn, text_hash, reason, attempts, first_at, last_at)
SELECT pipeline, key, generation, epoch, lsn, text_hash, reason, attempts, first_at, last_at
FROM {{.Schema}}."dead letters before";

DROP TABLE {{.Schema}}."dead letters before";

-- Who may read a pipeline's ledger sees its rows in the tables that pipelines share; who may write it may write them, as far as rights on
-- the table go. The owner of the tables sees all.
DO $wal2vec$
DECLARE
    shared record;
    access record;
BEGIN
    FOR shared IN
        SELECT *
        FROM (VALUES
            ('pipeline', 'name'), ('generation', 'pipeline'), ('stream_state', 'pipeline'), ('backfill', 'pipeline'), ('shape', 'pipeline'),
            ('dead_letter', 'pipeline')
        ) AS t (name, belongs)
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', {{.SchemaName}}, shared.name);
        FOR access IN SELECT * FROM (VALUES ('readers', 'SELECT', 'SELECT'), ('writers', 'ALL', 'UPDATE')) AS t (policy, does, needs) LOOP
            EXECUTE pg_catalog.format(
                'CREATE POLICY %5$s ON %1$I.%2$I FOR %6$s USING ('
                'pg_catalog.has_table_privilege(pg_catalog.to_regclass(pg_catalog.format(%3$L, %1$L, %4$I)), %7$L))',
                {{.SchemaName}}, shared.name, '%I.ledger_%s', shared.belongs, access.policy, access.does, access.needs
            );
        END LOOP;
    END LOOP;
END
$wal2vec$;

-- What earlier versions gave by schema goes; init gives again, by table, what its roles need.
DO $wal2vec$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT c.relname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS x
        WHERE
            n.nspname = {{.SchemaName}} AND x.grantee <> c.relowner
            AND c.relname IN ('schema_version', 'pipeline', 'generation', 'stream_state', 'backfill', 'shape', 'dead_letter')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %I.%I FROM %s', {{.SchemaName}}, given.relname, given.grantee);
    END LOOP;
END
$wal2vec$;
