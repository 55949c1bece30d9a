SELECT o.rolname, o.rolname = current_user
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE c.oid = $1::text::regclass
