-- Which roles of a pipeline may make things in the schema public, and who gave them that ('' for the schema's owner): this one and those that it is a member
-- of, and the owner of the ledger ($1, $2), where it is here, with those that have rights on it.
SELECT g.rolname::text, CASE WHEN a.grantor = n.nspowner THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantor)::text END
FROM pg_catalog.pg_namespace AS n
CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
WHERE n.nspname = 'public'
  AND a.privilege_type = 'CREATE'
  AND a.grantee <> n.nspowner
  AND NOT g.rolsuper
  AND (
      pg_catalog.pg_has_role(session_user, g.oid, 'MEMBER') AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user)
      OR EXISTS (
          SELECT
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
          LEFT JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS x ON true
          WHERE s.nspname = $1 AND c.relname = $2 AND g.oid IN (c.relowner, x.grantee)
      )
  )
ORDER BY a.grantor <> n.nspowner, 1, 2
