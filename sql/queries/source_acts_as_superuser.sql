-- Whether a role ($1) is a superuser, or may act as one: by a membership, or by one that reaches the server's files and programs.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS s
    WHERE (
        s.rolsuper
        OR s.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
        -- Before 16 such a role makes itself a member of these.
        OR s.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000
    )
      AND pg_catalog.pg_has_role($1::name, s.oid, 'MEMBER')
)
