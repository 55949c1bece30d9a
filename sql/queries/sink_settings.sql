-- The writes of a batch find their rows by key: a plan made while the tables were small must not scan them when they are large.
SELECT
    set_config('synchronous_commit', 'on', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true)
