-- Whether code that runs with this role's rights reaches what no read-only transaction protects: a superuser, or who may run programs on the
-- server or read and write its files, can do so; so can a member of such a role.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS r
    WHERE (r.rolsuper OR r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
      AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'MEMBER')
)
