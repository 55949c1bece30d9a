UPDATE ONLY {{.Table}}
SET {{.Column}} = {{.Column}}
