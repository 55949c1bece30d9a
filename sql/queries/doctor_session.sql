-- What of the session that was asked for has come through, which server process answers, and what time the server has.
SELECT
    pg_catalog.pg_backend_pid(),
    ARRAY(
        SELECT w.name
        FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (name, value)
        WHERE
            pg_catalog.lower(pg_catalog.split_part(coalesce(pg_catalog.current_setting(w.name, true), ''), ',', 1))
            <> pg_catalog.lower(w.value)
    ),
    coalesce((SELECT s.version FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_catalog.pg_backend_pid()), ''),
    pg_catalog.clock_timestamp()
