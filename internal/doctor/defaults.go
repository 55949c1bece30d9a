package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	queries "github.com/wal2vec/wal2vec/sql"
)

// judgeDefaults tells of default privileges, which give rights to whole tables that are not made
// yet, and reports whether there are any.
func (e *examination) judgeDefaults(ctx context.Context, check string, oid uint32) (found bool, err error) {
	rows, err := e.source.conn.Query(ctx, queries.Query("doctor_defaults"), oid)
	if err != nil {
		return false, err
	}
	var owner, schema, grantee string
	var privileges []string
	_, err = pgx.ForEachRow(rows, []any{&owner, &schema, &grantee, &privileges}, func() error {
		found = true
		in, where, to, whose := "", "in any schema", "PUBLIC", ", as everybody,"
		if schema != "" {
			in, where = " IN SCHEMA "+pgname.Identifier(schema), "in schema "+pgname.Identifier(schema)
		}
		if grantee != "" {
			to, whose = pgname.Identifier(grantee), ", as a member of "+pgname.Identifier(grantee)+","
		}
		if grantee == e.source.info.User {
			whose = ""
		}
		instead := "the function that init makes gives it the columns of a table that is built again"
		if e.searches() {
			instead = "dbt's grants, in the model, give it a table that is built again"
		}
		e.warn(check, inSource(fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON TABLES FROM %s;", pgname.Identifier(owner), in, to)),
			"role %s%s will have %s on each table that role %s makes %s, on all columns; %s",
			pgname.Identifier(e.source.info.User), whose, strings.Join(privileges, ", "), pgname.Identifier(owner), where, instead)
		return nil
	})
	return found, err
}
