-- About how many rows a table has; 0 where that is not known.
SELECT greatest(reltuples, 0)::bigint
FROM pg_catalog.pg_class
WHERE oid = $1::regclass
