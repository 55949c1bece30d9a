SELECT pg_catalog.pg_backend_pid(), pg_catalog.set_config('lock_timeout', $1, true)
