{{- /* What is sent of it: of a row that is beyond the limit by a template the length instead of the values. */ -}}
{{range $i, $key := .Key}}{{if $i}}, {{end}}k{{inc $i}}{{end}}
{{- range $place, $readers := .Readers}}, CASE WHEN {{range $n, $i := $readers}}{{if $n}} OR {{end}}s{{inc $i}} <= {{$.Most}}{{end}} THEN c{{inc $place}} END{{end}}
{{- if .Deleted}}, mark{{end}}
{{- range $i, $values := .Templates}}, CASE WHEN s{{inc $i}} > {{$.Most}} THEN s{{inc $i}} END{{end}}
