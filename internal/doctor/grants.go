package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	queries "github.com/wal2vec/wal2vec/sql"
)

// granted is what other roles than the owner may do with wal2vec's schema, tables, sequences and view, or will with what is made there.
type granted struct {
	// writers and readers have what init gives.
	writers, readers []string
	// beyond are lines on other rights, each with the statement that takes them.
	beyond []surplus
}

type surplus struct{ text, fix string }

// grantee quotes the name of a role; empty is PUBLIC.
func grantee(role string) string {
	if role == "" {
		return "PUBLIC"
	}
	return pgname.Identifier(role)
}

func (e *examination) readGranted(ctx context.Context) (g granted, err error) {
	var tables, rights, inserts, updates []string
	for _, n := range e.sink.store.StreamNeeds(*e.state) {
		tables, rights = append(tables, n.Table), append(rights, comma(n.Rights))
		inserts, updates = append(inserts, comma(n.Insert)), append(updates, comma(n.Update))
	}
	c, st := e.opts.Config, e.state
	rows, err := e.sink.pool.Query(ctx, queries.Query("doctor_grants"), c.Sink.Schema, c.Pipeline, tables, rights, inserts, updates,
		st.ViewSchema, st.ViewName, c.Sink.Owner)
	if err != nil {
		return g, err
	}
	var kind, schema, role string
	var names, may []string
	_, err = pgx.ForEachRow(rows, []any{&kind, &schema, &names, &role, &may}, func() error {
		switch kind {
		case "writes":
			g.writers = append(g.writers, role)
		case "reads":
			g.readers = append(g.readers, role)
		default:
			g.beyond = append(g.beyond, surplusOf(kind, schema, names, role, may))
		}
		return nil
	})
	if err != nil {
		return g, err
	}
	return g, e.readDefaults(ctx, &g)
}

// surplusOf takes rights on things of one kind and schema; the query has quoted the columns in them.
func surplusOf(kind, schema string, names []string, role string, rights []string) surplus {
	things := make([]string, len(names))
	for i, name := range names {
		things[i] = pgname.Qualified(schema, name)
		if kind == "SCHEMA" {
			things[i] = pgname.Identifier(schema)
		}
	}
	object := kind
	if kind == "VIEW" {
		object = "TABLE" // as GRANT has it
	}
	all := strings.Join(things, ", ")
	return surplus{
		text: fmt.Sprintf("role %s may do more than init gives: %s on %s %s", grantee(role), strings.Join(rights, ", "), strings.ToLower(kind), all),
		fix:  fmt.Sprintf("REVOKE %s ON %s %s FROM %s CASCADE;", strings.Join(rights, ", "), object, all, grantee(role)),
	}
}

func (e *examination) readDefaults(ctx context.Context, g *granted) error {
	c := e.opts.Config
	rows, err := e.sink.pool.Query(ctx, queries.Query("doctor_default_grants"), c.Sink.Schema, e.state.ViewSchema, c.Sink.Owner)
	if err != nil {
		return err
	}
	var owner, kind, schema, role string
	_, err = pgx.ForEachRow(rows, []any{&owner, &kind, &schema, &role}, func() error {
		in, where := "", ""
		if schema != "" {
			in, where = " IN SCHEMA "+pgname.Identifier(schema), " in schema "+pgname.Identifier(schema)
		}
		g.beyond = append(g.beyond, surplus{
			text: fmt.Sprintf("default privileges of role %s give rights to %s on all %s that it makes%s, but for those that init makes",
				pgname.Identifier(owner), grantee(role), strings.ToLower(kind), where),
			fix: fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON %s FROM %s;", pgname.Identifier(owner), in, kind, grantee(role)),
		})
		return nil
	})
	return err
}

// judgeGranted tells of other roles' rights, and reports whether there is nothing to tell. says is who else has what init gives.
func (e *examination) judgeGranted(g granted) (well bool, says string) {
	for _, x := range g.beyond {
		e.warn("sink.least", inSink(x.fix), "%s", x.text)
	}
	for _, others := range []struct {
		does  string
		roles []string
	}{{"streams", g.writers}, {"reads", g.readers}} {
		for _, role := range slices.Compact(others.roles) {
			says += fmt.Sprintf("; role %s %s too", pgname.Identifier(role), others.does)
		}
	}
	return len(g.beyond) == 0, says
}
