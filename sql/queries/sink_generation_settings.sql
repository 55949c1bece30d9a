-- A lock that is not to be had soon is not waited for: every writer would wait behind it.
SELECT set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '10s', true)
