SELECT coalesce(max(version), 0)
FROM {{.Schema}}.schema_version
