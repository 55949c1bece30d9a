SELECT
    c.oid,
    c.relkind::text,
    c.relpersistence::text,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
    pg_catalog.row_security_active(c.oid),
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid),
    CURRENT_USER::text,
    pg_catalog.current_setting('server_version_num')::int
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1
  AND c.relname = $2
