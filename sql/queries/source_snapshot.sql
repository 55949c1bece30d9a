SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_current_snapshot()::text
