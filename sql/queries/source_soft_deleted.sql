{{- /* True of a row that is marked as deleted: by its column, or by a value in it, of a composite type too. Empty without such a column. */ -}}
{{if .Mark}}t.{{.Mark}}{{if not .MarkIsBool}} IS DISTINCT FROM NULL{{end}}{{end}}
