-- About how many rows that are not marked as deleted, by the planner: it knows the present size of a table that was never analysed, too.
EXPLAIN (FORMAT JSON) SELECT FROM {{.Table}} AS t{{if .Deleted}} WHERE ({{.Deleted}}) IS NOT TRUE{{end}}
