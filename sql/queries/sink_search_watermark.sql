SELECT p.watermark, p.partial_until, p.generations, (SELECT coalesce(max(v.version), 0) FROM {{.Schema}}.schema_version AS v)
FROM {{.Schema}}.pipeline AS p
WHERE p.name = $1
