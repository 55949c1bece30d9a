SELECT p.gid, p.database::text, extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared)::double precision
FROM pg_catalog.pg_prepared_xacts AS p
WHERE p.prepared < pg_catalog.clock_timestamp() - $1::interval
ORDER BY p.prepared
LIMIT 5
