-- The sink's server, and pgvector as installed and as available.
SELECT
    pg_catalog.current_setting('server_version_num')::int,
    pg_catalog.pg_is_in_recovery() OR (SELECT s.reset_val = 'on' FROM pg_catalog.pg_settings AS s WHERE s.name = 'default_transaction_read_only'),
    pg_catalog.current_setting('fsync') = 'on',
    pg_catalog.current_setting('full_page_writes') = 'on',
    coalesce((SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'vector'), ''),
    coalesce((SELECT a.default_version FROM pg_catalog.pg_available_extensions AS a WHERE a.name = 'vector'), '')
