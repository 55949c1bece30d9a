-- Which table of another owner than that of the table ($1, $2) a role ($4; '' for this session's) may read: what each of the two puts into an index runs with
-- that role's rights, and reads the other's columns. The schemas that are named ($3) are left out, those of wal2vec's own tables for a role that searches. What everybody may read
-- is no secret, nor is what two roles that have one another's rights own.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner))
FROM pg_catalog.pg_class AS s
JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_class AS c ON c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> s.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
-- A role that this one is a member of gives it its rights, at once or by SET ROLE.
JOIN pg_catalog.pg_roles AS m ON m.rolname = COALESCE(NULLIF($4::text, ''), SESSION_USER::text)
JOIN pg_catalog.pg_roles AS r ON pg_catalog.pg_has_role(m.oid, r.oid, 'MEMBER')
WHERE sn.nspname = $1 AND s.relname = $2
  AND NOT (pg_catalog.pg_has_role(s.relowner, c.relowner, 'USAGE') AND pg_catalog.pg_has_role(c.relowner, s.relowner, 'USAGE'))
  AND n.nspname <> ALL ($3::text[]) AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_toast')
  AND pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
  AND EXISTS (
      SELECT
      FROM pg_catalog.pg_attribute AS a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
        AND NOT (pg_catalog.has_column_privilege('public', c.oid, a.attnum, 'SELECT') AND pg_catalog.has_schema_privilege('public', n.oid, 'USAGE'))
  )
ORDER BY c.oid
LIMIT 1
