-- What kind of relation an object id ($1) is, who owns it, and that role's name.
SELECT c.relkind::text, c.relowner, pg_catalog.pg_get_userbyid(c.relowner)::text
FROM pg_catalog.pg_class AS c
WHERE c.oid = $1
