SELECT EXISTS (SELECT FROM {{.Schema}}.dead_letter WHERE pipeline = $1)
