-- The function ($1, its name with schema, quoted) as it is in the transaction that made it: whose it is, its body, whether it runs as its owner, its
-- language, its settings, who may call it ('' for every role), whether one of them may pass that on or has it from another than the owner, and how many
-- other functions this transaction has made or changed, as the lock of the transaction that wrote their rows shows.
SELECT
    pg_catalog.pg_get_userbyid(f.proowner)::text,
    f.prosrc,
    f.prosecdef,
    l.lanname::text,
    COALESCE(f.proconfig, ARRAY[]::text[]),
    ARRAY(
        SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
        FROM pg_catalog.aclexplode(COALESCE(f.proacl, pg_catalog.acldefault('f', f.proowner))) AS a
        WHERE a.grantee <> f.proowner
        ORDER BY 1
    ),
    EXISTS (SELECT FROM pg_catalog.aclexplode(f.proacl) AS a WHERE a.grantee <> f.proowner AND (a.is_grantable OR a.grantor <> f.proowner)),
    (
        SELECT pg_catalog.count(*)
        FROM pg_catalog.pg_proc AS o
        JOIN pg_catalog.pg_locks AS k ON k.locktype = 'transactionid' AND k.transactionid = o.xmin AND k.pid = pg_catalog.pg_backend_pid() AND k.granted
        WHERE o.oid <> f.oid AND o.proname = f.proname
    )
FROM pg_catalog.pg_proc AS f
JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
WHERE f.oid = pg_catalog.to_regprocedure($1 || '()')
