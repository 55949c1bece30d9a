-- The table ($1, $2) for the role that reads it ($3; '' for this session's). Whether row policies apply to another role is for its own session to see.
-- Last, whether a role owns it that could not act as this session anyway.
SELECT
    c.oid,
    c.relkind::text,
    c.relpersistence::text,
    pg_catalog.has_schema_privilege(COALESCE(NULLIF($3::text, ''), CURRENT_USER::text)::name, n.oid, 'USAGE'),
    $3::text = '' AND pg_catalog.row_security_active(c.oid),
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid),
    COALESCE(NULLIF($3::text, ''), CURRENT_USER::text),
    pg_catalog.current_setting('server_version_num')::int,
    NOT pg_catalog.pg_has_role(c.relowner, SESSION_USER, 'MEMBER')
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1
  AND c.relname = $2
