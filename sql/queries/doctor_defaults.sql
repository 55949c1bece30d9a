-- What default privileges will give this role, a role that it is a member of, or everybody (no grantee) on each table that another role makes in the
-- schema of the table ($1), or in any (no schema): all columns of it, since they name none.
SELECT
    pg_catalog.pg_get_userbyid(d.defaclrole)::text,
    coalesce(s.nspname::text, ''),
    CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END,
    pg_catalog.array_agg(DISTINCT a.privilege_type ORDER BY a.privilege_type)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_default_acl AS d ON d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, c.relnamespace)
LEFT JOIN pg_catalog.pg_namespace AS s ON s.oid = d.defaclnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS a
WHERE
    c.oid = $1 AND a.grantee <> d.defaclrole AND NOT pg_catalog.pg_has_role(d.defaclrole, 'MEMBER')
    AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'MEMBER'))
GROUP BY d.defaclrole, s.nspname, a.grantee
ORDER BY 1, 2, 3
