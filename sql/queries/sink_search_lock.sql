-- In the order in which a teardown drops them, so that the two never wait for each other.
LOCK TABLE {{.Vectors}}, {{.Schema}}.backfill, {{.Schema}}.pipeline, {{.Schema}}.schema_version IN ACCESS SHARE MODE
