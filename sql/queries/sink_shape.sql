SELECT marks FROM {{.Schema}}.shape WHERE pipeline = $1
