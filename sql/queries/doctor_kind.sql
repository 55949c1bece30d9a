-- What a role may do with the pipeline's ledger ($1, $2), which says what it is for: to own it, to write it, to read it. No row where there is none.
SELECT
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    pg_catalog.has_table_privilege(c.oid, 'UPDATE'),
    pg_catalog.has_table_privilege(c.oid, 'SELECT'),
    CURRENT_USER::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
