-- Whom the default privileges of this role give rights on what it makes in a schema ($1): each grantee, PUBLIC as the empty name, for schemas (n),
-- tables and views (r) and sequences (S). A stranger who could once act as this role, or a wish for all of a team, may have set them.
SELECT DISTINCT d.defaclobjtype::text, coalesce(r.rolname::text, '')
FROM pg_catalog.pg_default_acl AS d
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS x
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE
    pg_catalog.pg_get_userbyid(d.defaclrole) = current_user AND (d.defaclnamespace = 0 OR n.nspname = $1)
    AND d.defaclobjtype IN ('n', 'r', 'S') AND x.grantee <> d.defaclrole
ORDER BY 1, 2
