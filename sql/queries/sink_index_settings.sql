SELECT
    set_config('maintenance_work_mem', $1, false),
    set_config('max_parallel_maintenance_workers', $2, false),
    set_config('statement_timeout', '0', false),
    set_config('lock_timeout', $3, false),
    set_config('idle_session_timeout', '0', false)
