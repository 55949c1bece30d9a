-- The first role that owns the table ($1) or one below it and is not this session's own: SET ROLE, also by a setting of the database, is no wall. No row
-- where there is none.
WITH RECURSIVE family (oid) AS (
    SELECT $1::text::pg_catalog.regclass::oid
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
)
SELECT o.rolname::text
FROM family AS f
JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE o.rolname <> SESSION_USER
ORDER BY c.oid
LIMIT 1
