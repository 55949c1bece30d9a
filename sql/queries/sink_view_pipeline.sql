-- The other pipeline ($3 is this one) whose view has the name $1.$2.
SELECT p.name
FROM {{.Schema}}.pipeline AS p
WHERE p.view_schema = $1 AND p.view_name = $2 AND p.name <> $3
ORDER BY p.name
LIMIT 1
