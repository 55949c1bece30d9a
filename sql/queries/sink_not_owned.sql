-- Who owns the ledger, or else the view, where this role has not the owner's rights. A membership without INHERIT gives none. The catalogue
-- tells a role that may not even look into the schema.
SELECT o.rolname, current_user::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE
    ((n.nspname = $1 AND c.relname = $2) OR (n.nspname = $3 AND c.relname = $4))
    AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY c.relkind = 'r' DESC
LIMIT 1
