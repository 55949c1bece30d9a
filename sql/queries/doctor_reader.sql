-- Which tables of other owners this session's role may read, and the owner of the table ($1, $2) may not: what that one puts into an index runs with
-- this role's rights. The schemas of wal2vec's own tables and of the view ($3) are left out: a role that searches reads them. What has the rights of the owner, or whose rights
-- the owner has, has no secret from it.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner))
FROM pg_catalog.pg_class AS s
JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_class AS c ON c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> s.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE sn.nspname = $1 AND s.relname = $2
  AND NOT pg_catalog.pg_has_role(s.relowner, c.relowner, 'USAGE')
  AND n.nspname <> ALL ($3::text[]) AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_toast')
  -- A role that this one is a member of gives it its rights, at once or by SET ROLE.
  AND EXISTS (
      SELECT FROM pg_catalog.pg_roles AS r
      WHERE pg_catalog.pg_has_role(SESSION_USER, r.oid, 'MEMBER')
        AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
  )
  AND NOT pg_catalog.has_any_column_privilege(s.relowner, c.oid, 'SELECT')
ORDER BY c.oid
LIMIT 1
