-- Leaves EXECUTE on the function to its owner and to the roles that are named, whatever others were given since they were looked for. It runs in the
-- transaction that has made the function again, whose row no other transaction changes until that ends.
DO {{.Tag}}
DECLARE
    step text;
BEGIN
    FOR step IN
        SELECT DISTINCT CASE
            WHEN g.grantee = 0 THEN pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC CASCADE', {{.FunctionLiteral}})
            WHEN r.rolname = ANY (ARRAY[{{join .RoleLiterals ", "}}]::text[])
                THEN pg_catalog.format('REVOKE GRANT OPTION FOR ALL ON FUNCTION %s FROM %I CASCADE', {{.FunctionLiteral}}, r.rolname)
            ELSE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I CASCADE', {{.FunctionLiteral}}, r.rolname)
        END
        FROM pg_catalog.pg_proc AS f
        CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
        WHERE f.oid = pg_catalog.to_regprocedure({{.FunctionLiteral}}) AND g.grantee <> f.proowner
            AND (g.is_grantable OR r.rolname IS NULL OR r.rolname <> ALL (ARRAY[{{join .RoleLiterals ", "}}]::text[]))
    LOOP
        EXECUTE step;
    END LOOP;
END
{{.Tag}}
