package doctor

import (
	"cmp"
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
	// beyond are lines on other rights, each with what takes them.
	beyond []surplus
}

type surplus struct {
	text string
	fix  advice
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
	var x grant
	_, err = pgx.ForEachRow(rows, []any{&x.kind, &x.schema, &x.names, &x.role, &x.rights, &x.purpose}, func() error {
		switch {
		case x.kind != "for":
			g.beyond = append(g.beyond, surplus{x.text(), x.fix()})
		case x.purpose == "streams":
			g.writers = append(g.writers, x.role)
		default:
			g.readers = append(g.readers, x.role)
		}
		return nil
	})
	if err != nil {
		return g, err
	}
	return g, e.readDefaults(ctx, &g)
}

// grant is what a role may do with things of one kind and schema, beyond what init gives; empty is PUBLIC.
type grant struct {
	kind, schema  string
	names, rights []string
	role, purpose string
}

func (x grant) text() string {
	role := "PUBLIC"
	if x.role != "" {
		role = "role " + x.role
	}
	things := strings.Join(x.names, ", ")
	if x.kind == "SCHEMA" {
		things = x.schema
	}
	return fmt.Sprintf("%s may do more than init gives: %s on %s %s", role, strings.Join(x.rights, ", "), strings.ToLower(x.kind), things)
}

// fix takes it. Rights of a role that init gave some are taken with those, and given again.
func (x grant) fix() advice {
	role, schema := "PUBLIC", pgname.Identifier(x.schema)
	if x.role != "" {
		role = pgname.Identifier(x.role)
	}
	maintain := ""
	if slices.Contains(x.rights, "MAINTAIN") {
		maintain = ", MAINTAIN"
	}
	switch {
	case x.kind == "SEQUENCE":
		return inSink("REVOKE ALL ON ALL SEQUENCES IN SCHEMA " + schema + " FROM " + role + " CASCADE;")
	case x.kind == "VIEW":
		return inSink("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER" + maintain + " ON TABLE " + pgname.Qualified(x.schema, x.names[0]) +
			" FROM " + role + " CASCADE;")
	case x.purpose == "streams":
		return inShell("wal2vec init " + pgname.Flag("revoke", x.role) + " " + pgname.Flag("grant-stream", x.role) +
			"  # as the role that owns its tables")
	case x.purpose == "reads":
		return inShell("wal2vec init " + pgname.Flag("revoke", x.role) + " " + pgname.Flag("grant-search", x.role) +
			"  # as the role that owns its tables")
	case x.purpose != "":
		return onServer("run wal2vec init --revoke, and give again, for the role's own pipeline")
	case x.kind == "SCHEMA":
		return inSink("REVOKE ALL ON SCHEMA " + schema + " FROM " + role + " CASCADE;")
	default:
		return inSink("REVOKE ALL ON ALL TABLES IN SCHEMA " + schema + " FROM " + role + " CASCADE;")
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
		grantee, in, where := "PUBLIC", "", ""
		if role != "" {
			grantee = pgname.Identifier(role)
		}
		if schema != "" {
			in, where = " IN SCHEMA "+pgname.Identifier(schema), " in schema "+schema
		}
		what := "TABLES"
		switch kind {
		case "SCHEMAS":
			what = "SCHEMAS"
		case "SEQUENCES":
			what = "SEQUENCES"
		}
		g.beyond = append(g.beyond, surplus{
			text: fmt.Sprintf("default privileges of role %s give rights to %s on all %s that it makes%s, but for those that init makes",
				owner, cmp.Or(role, "PUBLIC"), strings.ToLower(what), where),
			fix: inSink(fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON %s FROM %s;", pgname.Identifier(owner), in, what, grantee)),
		})
		return nil
	})
	return err
}

// judgeGranted tells of other roles' rights, and reports whether there is nothing to tell. says is who else has what init gives.
func (e *examination) judgeGranted(g granted) (well bool, says string) {
	for _, x := range g.beyond {
		e.warn("sink.least", x.fix, "%s", x.text)
	}
	var also strings.Builder
	for _, role := range slices.Compact(g.writers) {
		fmt.Fprintf(&also, "; role %s streams too", role)
	}
	for _, role := range slices.Compact(g.readers) {
		fmt.Fprintf(&also, "; role %s reads too", role)
	}
	return len(g.beyond) == 0, also.String()
}
