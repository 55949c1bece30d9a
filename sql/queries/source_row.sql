{{- /* What is read of a row: key, values, the mark of a deleted one, and its length by each template, as the log would bring it. */ -}}
{{range $i, $key := .Key}}{{if $i}}, {{end}}t.{{$key}} AS k{{inc $i}}{{end}}
{{- range $i, $value := .Values}}, {{if $.Raw -}}
    CASE WHEN t.{{$value}} IS DISTINCT FROM NULL THEN convert_to(format('%s', t.{{$value}}), getdatabaseencoding()) END
{{- else}}t.{{$value}}{{end}} AS c{{inc $i}}{{end}}
{{- if .Deleted}}, {{.Deleted}} AS mark{{end}}
{{- range $i, $values := .Templates}}, 0::bigint
{{- range $values}} + coalesce(octet_length(
{{- if $.Convert}}convert_to({{end -}}
    {{- /* A cast of any other type may be its owner's function. Of a text, octet_length reads no more than the length. */ -}}
    {{if index $.Texts . -}}
    CASE WHEN pg_typeof(t.{{index $.Values .}}) = ANY ('{text,varchar}'::regtype[]) THEN t.{{index $.Values .}}::text ELSE format('%s', t.{{index $.Values .}}) END
    {{- else}}format('%s', t.{{index $.Values .}}){{end}}
{{- if $.Convert}}, 'UTF8'){{end}}), 0)
{{- end}} AS s{{inc $i}}{{end}}
