-- By the catalogue alone: this role; the role that sets pipelines up in the schema ($1), which owns wal2vec's tables, or else could make them, or owns the
-- schema, and is empty where no role is known; and whether this role streams the pipeline whose ledger is $2: it may write it, and does not own it where
-- another role was given that. One row.
SELECT
    session_user::text,
    coalesce(
        (
            SELECT pg_catalog.pg_get_userbyid(c.relowner)::text
            FROM pg_catalog.pg_class AS c
            WHERE c.relnamespace = n.oid AND c.relname = 'pipeline' AND c.relkind = 'r'
        ),
        CASE
            WHEN n.oid IS NULL AND NOT pg_catalog.has_database_privilege(d.oid, 'CREATE') THEN ''
            WHEN n.oid IS NULL OR pg_catalog.has_schema_privilege(n.oid, 'CREATE') THEN session_user::text
            WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN pg_catalog.pg_get_userbyid(d.datdba)::text
            ELSE pg_catalog.pg_get_userbyid(n.nspowner)::text
        END
    ),
    l.oid IS NOT NULL
    AND pg_catalog.has_table_privilege(l.oid, 'UPDATE')
    AND NOT (
        pg_catalog.pg_has_role(l.relowner, 'USAGE')
        AND EXISTS (SELECT FROM pg_catalog.aclexplode(l.relacl) AS a WHERE a.grantee <> l.relowner AND a.privilege_type = 'UPDATE')
    )
FROM pg_catalog.pg_database AS d
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = $1::text
LEFT JOIN pg_catalog.pg_class AS l ON l.relnamespace = n.oid AND l.relname = $2::text AND l.relkind = 'r'
WHERE d.datname = pg_catalog.current_database()
