-- Whether nothing is in a schema ($1) but the view ($2), where that goes ($4); no row where wal2vec did not make it ($3), or another role owns it.
SELECT NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_depend AS d
    WHERE
        d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
        AND NOT (
            $4::boolean AND d.classid = 'pg_catalog.pg_class'::regclass
            AND d.objid IN (SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = $2)
        )
)
FROM pg_catalog.pg_namespace AS n
WHERE n.nspname = $1 AND pg_catalog.obj_description(n.oid, 'pg_namespace') = $3 AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
