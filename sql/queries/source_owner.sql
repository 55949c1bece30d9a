-- Who owns a table ($1, $2), whether that is a superuser or may act as one (as source_acts_as_superuser has it), whether this role has the owner's rights, this
-- role, and whether a publication ($3) carries the table. No row where there is no such table.
SELECT
    o.rolname::text,
    EXISTS (
        SELECT
        FROM pg_catalog.pg_roles AS s
        WHERE (
            s.rolsuper
            OR s.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
            OR s.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000
        )
          AND pg_catalog.pg_has_role(o.oid, s.oid, 'MEMBER')
    ),
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    CURRENT_USER::text,
    EXISTS (
        SELECT
        FROM pg_catalog.pg_publication AS p
        WHERE p.pubname = $3
          AND (
              p.puballtables
              OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
              OR EXISTS (SELECT FROM pg_catalog.pg_publication_tables AS t WHERE t.pubname = p.pubname AND t.schemaname = $1 AND t.tablename = $2)
          )
    )
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE n.nspname = $1
  AND c.relname = $2
