package doctor

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	queries "github.com/wal2vec/wal2vec/sql"
)

// readPublic looks which roles of the pipeline's may make things in the schema public, in the
// database of in. Every role looks for functions there, and takes the best match for the arguments
// of its call: who may make one has every role run it, superusers too. None needs the right but
// for the moment in which init makes a view there, or hands a function over.
func (e *examination) readPublic(ctx context.Context, db replication.Querier, in func(string) advice) ([]surplus, error) {
	c := e.opts.Config
	rows, err := db.Query(ctx, queries.Query("doctor_public"), c.Sink.Schema, "ledger_"+c.Pipeline)
	if err != nil {
		return nil, err
	}
	move := ""
	if e.state != nil && e.state.ViewSchema == "public" {
		move = " -- generation activate needs it while the view is there: set sink.view to a name in a schema of its own, and wal2vec init moves the view"
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x surplus, err error) {
		var role, grantor string
		err = row.Scan(&role, &grantor)
		by, statements := "", []string{"REVOKE CREATE ON SCHEMA public FROM " + pgname.Identifier(role) + " CASCADE"}
		if grantor != "" {
			by = ", which role " + grantor + " gave it"
			statements = []string{"SET LOCAL ROLE " + pgname.Identifier(grantor), statements[0]}
		}
		return surplus{
			text: fmt.Sprintf("role %s may create in schema public, where every role looks for functions, and so have every role run its own%s", role, by),
			fix:  in(pgname.Script(statements...) + move),
		}, err
	})
}

// readPaths looks whose sessions look for functions in the schemas of view and tables, as every
// role's do in public, and in schemas of a role of the pipeline that are called like their own
// role: who owns such a schema runs functions as that role.
func (e *examination) readPaths(ctx context.Context, db replication.Querier) ([]surplus, error) {
	c := e.opts.Config
	view := c.Sink.View.Schema
	if e.state != nil && e.state.ViewSchema != "" {
		view = e.state.ViewSchema
	}
	rows, err := db.Query(ctx, queries.Query("doctor_paths"), []string{c.Sink.Schema, view}, c.Sink.Owner, "ledger_"+c.Pipeline)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x surplus, err error) {
		var schema, owner, role string
		err = row.Scan(&schema, &owner, &role)
		whose := "of every role"
		if role != "" {
			whose = "of role " + role
		}
		return surplus{
			text: fmt.Sprintf("schema %s is on the search path %s, and role %s, to whom it belongs, can put functions there that such a session runs",
				schema, whose, owner),
			fix: inSettings("sink.view and sink.schema: names of schemas on no search path, or take the schema out of that search path"),
		}, err
	})
}
