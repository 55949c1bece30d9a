-- The session changes nothing and waits for nothing: $1 milliseconds for a statement, and two seconds for a lock.
SELECT
    pg_catalog.set_config('lock_timeout', '2000', false),
    pg_catalog.set_config('statement_timeout', $1, false),
    pg_catalog.set_config('default_transaction_read_only', 'on', false)
