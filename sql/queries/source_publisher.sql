-- Who owns the publication ($1) and the table ($2, an object id), and whether the publication's owner may decide what is published of it: this role, a
-- superuser, or a role with the rights of the table's owner, as the swap role has them. No row where one of them does not exist.
SELECT
    o.rolname::text,
    pg_catalog.pg_get_userbyid(c.relowner)::text,
    o.rolname = SESSION_USER OR o.rolsuper OR pg_catalog.pg_has_role(o.oid, c.relowner, 'MEMBER')
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_roles AS o ON o.oid = p.pubowner
CROSS JOIN pg_catalog.pg_class AS c
WHERE p.pubname = $1
  AND c.oid = $2
