SELECT n.position - 1
FROM unnest($1::bytea[], {{.Arrays 2}}) WITH ORDINALITY AS n (text_hash, {{.Aliases}}, position)
LEFT JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
WHERE v.text_hash IS DISTINCT FROM n.text_hash
