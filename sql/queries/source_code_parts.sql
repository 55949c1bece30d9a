-- The parts of an expression (t.tree, as the catalogue keeps it) that are more than immutable functions and types of the server itself: the function,
-- or none; who owns function or type; and whether that alone decides, or the kind of part is another. A kind that is not listed may run anything: a
-- domain's CHECK, a type's input function. So may a function that is not immutable, as ts_rewrite and query_to_xml run SQL text; but for those that
-- are about a time, which depend on the session's time zone. Of types that users made, enums have no functions of their own.
SELECT NULL::oid AS function, NULL::oid AS owner, false AS steady
FROM pg_catalog.regexp_matches(t.tree, '[{]([A-Za-z_0-9]*)', 'g') AS m (word)
WHERE m.word[1] <> ALL (ARRAY[
    'VAR', 'CONST', 'FUNCEXPR', 'NAMEDARGEXPR', 'OPEXPR', 'DISTINCTEXPR', 'NULLIFEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR', 'NULLTEST', 'BOOLEANTEST',
    'RELABELTYPE', 'COLLATEEXPR', 'COERCEVIAIO', 'ARRAYCOERCEEXPR', 'CASETESTEXPR', 'ARRAY', 'ARRAYEXPR', 'SUBSCRIPTINGREF', 'CASE', 'CASEEXPR', 'WHEN',
    'CASEWHEN', 'COALESCE', 'COALESCEEXPR', 'MINMAX', 'MINMAXEXPR', 'SQLVALUEFUNCTION', 'COERCETODOMAINVALUE'
])
UNION ALL
SELECT f.oid, f.proowner, COALESCE(s.steady, false)
FROM pg_catalog.regexp_matches(t.tree, ':([a-z_]*funcid|opno) ([0-9]+)', 'g') AS m (word)
LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = CASE
    WHEN m.word[1] = 'opno' THEN (SELECT o.oprcode::oid FROM pg_catalog.pg_operator AS o WHERE o.oid = m.word[2]::oid)
    ELSE m.word[2]::oid
END
LEFT JOIN LATERAL (
    SELECT
        f.provolatile = 'i' OR f.provolatile = 's'
        AND (f.proargtypes::oid[] || f.prorettype) && ARRAY[1082, 1083, 1114, 1184, 1186, 1266]::oid[] -- dates, times, intervals
        AND (f.proargtypes::oid[] || f.prorettype) <@ ARRAY[16, 20, 21, 23, 25, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700]::oid[] AS steady,
        f.oid < 16384 AND f.proowner = 10 AND f.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AS built
) AS s ON true
WHERE m.word[2] <> '0' AND (s.built AND s.steady) IS NOT TRUE
UNION ALL
SELECT NULL, y.typowner, true
FROM pg_catalog.regexp_matches(t.tree, ':(?:[A-Za-z_]*type|[a-z_]*typeid|typeId) ([0-9]+)', 'g') AS m (word)
LEFT JOIN pg_catalog.pg_type AS y ON y.oid = m.word[1]::oid
WHERE m.word[1]::oid >= 16384 AND y.typtype IS DISTINCT FROM 'e'
