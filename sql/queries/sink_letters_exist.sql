SELECT EXISTS (SELECT FROM {{.Letters}} WHERE pipeline = $1)
