-- Whether code that runs with this role's rights reaches what no read-only transaction protects: a superuser, or who may run programs on the
-- server or read and write its files, can do so; so can a member of such a role. From PostgreSQL 18 on dblink and postgres_fdw log in by the session's
-- own SCRAM keys where a foreign server says so, which any role makes that may use a foreign-data wrapper: that session is not read-only.
SELECT pg_catalog.current_setting('server_version_num')::int >= 180000 AND (
    EXISTS (
        SELECT
        FROM pg_catalog.pg_foreign_data_wrapper AS w
        CROSS JOIN LATERAL pg_catalog.aclexplode(w.fdwacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
        WHERE a.grantee <> w.fdwowner AND g.rolsuper IS NOT TRUE
    )
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_foreign_server AS s
        CROSS JOIN LATERAL pg_catalog.unnest(s.srvoptions) AS o (option)
        WHERE pg_catalog.starts_with(o.option, 'use_scram_passthrough=')
    )
)
OR EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS r
    WHERE (r.rolsuper OR r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
      AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'MEMBER')
)
