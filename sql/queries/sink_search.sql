SELECT {{.Texts "v"}}, 1 - (v.embedding OPERATOR({{.Extension}}.<=>) $1::{{.Extension}}.vector::{{.Storage}})
FROM {{.Vectors}} AS v
ORDER BY v.embedding OPERATOR({{.Extension}}.<=>) $1::{{.Extension}}.vector::{{.Storage}}
LIMIT $2
