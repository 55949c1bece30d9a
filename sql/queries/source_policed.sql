-- Whether row policies of the table ($1, $2) apply to this role. The answer is always one row.
SELECT coalesce(pg_catalog.bool_or(pg_catalog.row_security_active(c.oid)), false)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
