-- Bytes of the table, and what the server's settings say of its memory. effective_cache_size is three quarters of the machine's where
-- somebody has set it.
SELECT
    pg_catalog.pg_table_size($1::text::regclass),
    pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem')),
    greatest(
        pg_catalog.pg_size_bytes(current_setting('maintenance_work_mem')),
        pg_catalog.pg_size_bytes(current_setting('shared_buffers')),
        pg_catalog.pg_size_bytes(current_setting('effective_cache_size')) / 4
    ),
    least(current_setting('max_parallel_workers')::integer, current_setting('max_worker_processes')::integer)
