SELECT n.position - 1, v.text_hash, v.embedding::{{.Extension}}.vector
FROM unnest({{.Arrays 1}}) WITH ORDINALITY AS n ({{.Aliases}}, position)
JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
