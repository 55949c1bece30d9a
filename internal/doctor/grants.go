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

// granted is what other roles than the owner may do with wal2vec's schema, tables, sequences and
// view, or will with what is made there.
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
	scans := []any{&x.kind, &x.schema, &x.names, &x.role, &x.grantor, &x.rights, &x.privileges, &x.columns, &x.purpose}
	_, err = pgx.ForEachRow(rows, scans, func() error {
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
	public, err := e.readPublic(ctx, e.sink.pool, inSink)
	if err != nil {
		return g, err
	}
	paths, err := e.readPaths(ctx, e.sink.pool)
	if err != nil {
		return g, err
	}
	g.beyond = slices.Concat(g.beyond, public, paths)
	return g, e.readDefaults(ctx, &g)
}

// grant is what a role may do with things of one kind and schema, beyond what init gives; empty is
// PUBLIC.
type grant struct {
	kind, schema  string
	names, rights []string
	role, purpose string
	taken
}

// taken is how rights are taken that another role than the owner gave: REVOKE takes what its own
// role gave, and says nothing where that is nothing.
type taken struct {
	grantor             string // empty where it is the owner
	privileges, columns []string
}

// privileges are all that there are on tables, sequences and schemas.
var privileges = slices.Concat(tablePrivileges, []string{"USAGE", "CREATE"})

// from returns the statements; things and to are quoted. The owner takes all from a role; another
// one's rights are named, since it may have no others to take.
func (x taken) from(kind, things, to string) []string {
	if x.grantor == "" {
		return []string{"REVOKE ALL ON " + kind + " " + things + " FROM " + to + " CASCADE"}
	}
	var rights []string
	for i, column := range x.columns {
		for _, known := range privileges {
			switch {
			case known != x.privileges[i]:
			case column == "":
				rights = append(rights, known)
			default:
				rights = append(rights, known+" ("+pgname.Identifier(column)+")")
			}
		}
	}
	return []string{
		"SET LOCAL ROLE " + pgname.Identifier(x.grantor),
		"REVOKE " + strings.Join(rights, ", ") + " ON " + kind + " " + things + " FROM " + to + " CASCADE",
	}
}

func (x grant) text() string {
	role := "PUBLIC"
	if x.role != "" {
		role = "role " + x.role
	}
	things, by := strings.Join(x.names, ", "), ""
	if x.kind == "SCHEMA" {
		things = x.schema
	}
	if x.grantor != "" {
		by = ", which role " + x.grantor + " gave it"
	}
	return fmt.Sprintf("%s may do more than init gives: %s on %s %s%s", role, strings.Join(x.rights, ", "), strings.ToLower(x.kind), things, by)
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
	case x.grantor != "":
		return inSink(pgname.Script(x.from(x.passed(role))...) + x.again())
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

// passed names what another role than the owner gave to a role, whose name is quoted.
func (x grant) passed(role string) (kind, things, to string) {
	if x.kind == "SCHEMA" {
		return "SCHEMA", pgname.Identifier(x.schema), role
	}
	names := make([]string, len(x.names))
	for i, name := range x.names {
		names[i] = pgname.Qualified(x.schema, name)
	}
	if x.kind == "SEQUENCE" {
		return "SEQUENCE", strings.Join(names, ", "), role
	}
	return "TABLE", strings.Join(names, ", "), role
}

// again says how a role gets from the owner what it needs.
func (x grant) again() string {
	switch x.purpose {
	case "streams":
		return " -- then, if it is to stream: wal2vec init " + pgname.Flag("grant-stream", x.role)
	case "reads":
		return " -- then, if it is to search: wal2vec init " + pgname.Flag("grant-search", x.role)
	default:
		return ""
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

// judgeGranted tells of other roles' rights, and reports whether there is nothing to tell. says is
// who else has what init gives.
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
