-- What depends on the view, and the statements that give a new one of its name what it had: options, rights, comments, owner. The order
-- matters: only its owner may grant.
SELECT
    coalesce((
        SELECT array_agg(DISTINCT CASE
            WHEN d.classid = 'pg_catalog.pg_rewrite'::regclass THEN coalesce(pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, r.ev_class, 0), 'something that is gone by now')
            ELSE coalesce(pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), 'something that is gone by now')
        END)
        FROM pg_catalog.pg_depend AS d
        LEFT JOIN pg_catalog.pg_rewrite AS r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
        WHERE
            d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.deptype IN ('n', 'a')
            AND NOT coalesce(r.ev_class = c.oid AND r.rulename = '_RETURN', false)
    ), '{}'),
    ARRAY(
        SELECT format('ALTER VIEW %I.%I SET (%s)', n.nspname, c.relname, array_to_string(c.reloptions, ', '))
        WHERE c.reloptions IS NOT NULL
    ),
    ARRAY(
        SELECT format(
            'GRANT %s%s ON TABLE %I.%I TO %s%s', g.privilege_type, CASE WHEN g.col IS NOT NULL THEN format(' (%I)', g.col) END,
            n.nspname, c.relname, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_catalog.pg_get_userbyid(g.grantee)) END,
            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END
        )
        FROM (
            SELECT NULL::name AS col, x.grantee, x.privilege_type, x.is_grantable
            FROM pg_catalog.aclexplode(c.relacl) AS x
            UNION ALL
            SELECT a.attname, x.grantee, x.privilege_type, x.is_grantable
            FROM pg_catalog.pg_attribute AS a, pg_catalog.aclexplode(a.attacl) AS x
            WHERE a.attrelid = c.oid
        ) AS g
        WHERE g.grantee <> c.relowner
        UNION ALL
        SELECT format('COMMENT ON VIEW %I.%I IS %L', n.nspname, c.relname, o.description)
        FROM pg_catalog.pg_description AS o
        WHERE o.classoid = 'pg_catalog.pg_class'::regclass AND o.objoid = c.oid AND o.objsubid = 0
        UNION ALL
        SELECT format('COMMENT ON COLUMN %I.%I.%I IS %L', n.nspname, c.relname, a.attname, o.description)
        FROM pg_catalog.pg_description AS o
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.objoid AND a.attnum = o.objsubid
        WHERE o.classoid = 'pg_catalog.pg_class'::regclass AND o.objoid = c.oid AND o.objsubid > 0
        UNION ALL
        SELECT format('ALTER VIEW %I.%I OWNER TO %I', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner))
        WHERE pg_catalog.pg_get_userbyid(c.relowner) <> current_user
    )
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
