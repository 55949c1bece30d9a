package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Trusted looks, by the catalogue alone, whether wal2vec's schema and the pipeline's tables in it
// belong to roles that may have this one run what they like: itself, a superuser, or Options.Owner.
// The owner of a schema can put a view, a rule or a policy in a table's place, and a statement that
// names it runs its maker's functions with the reader's rights: so it comes before any such
// statement. The same is asked of foreign keys on the tables, and of who may make them and
// triggers. A table that was given to a trusted role has on it what an earlier owner wrote:
// policies have to be those that init writes, and there may be no trigger, rule, parent, child or
// extended statistics of expressions, no function, type or collation but the server's own and those
// that a superuser alone can make. exists is false, and nothing may be read, where there is no
// schema. What is otherwise is an UntrustedError.
func (s *Sink) Trusted(ctx context.Context) (exists bool, err error) { return s.trusted(ctx, s.pool) }

func (s *Sink) trusted(ctx context.Context, q querier) (exists bool, err error) {
	rows, err := q.Query(ctx, s.query("owners"), s.schema, s.pipeline, s.owner)
	if err != nil {
		return false, fmt.Errorf("asking whose schema %q is: %w", s.schema, err)
	}
	const known = "if it is the role that runs wal2vec init, name it: sink.owner"
	var name, kind, owner, role, grantor string
	var trusted bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &owner, &trusted, &role, &grantor}, func() error {
		exists = exists || name == ""
		switch {
		case !trusted && name == "":
			return fault.New(fault.Usage, known+"; if not, set another name: sink.schema", // this role may be one that only searches
				"schema %q of the sink belongs to role %q, which could have role %q run what it likes", s.schema, owner, role)
		case strings.HasPrefix(kind, "right "):
			grantee := "PUBLIC"
			if owner != "" {
				grantee = pgname.Identifier(owner)
			}
			revoke := "REVOKE TRIGGER, REFERENCES ON ALL TABLES IN SCHEMA " + pgname.Identifier(s.schema) + " FROM " + grantee + " CASCADE;"
			if grantor != "" { // a REVOKE takes what its own role gave, and says nothing where that is nothing
				right := "TRIGGER"
				if strings.HasSuffix(kind, " REFERENCES") {
					right = "REFERENCES"
				}
				revoke = "BEGIN; SET LOCAL ROLE " + pgname.Identifier(grantor) + "; REVOKE " + right + " ON TABLE " +
					pgname.Qualified(s.schema, name) + " FROM " + grantee + " CASCADE; COMMIT;"
			}
			return fault.New(fault.Usage, revoke,
				"%s has the %s on %q in schema %q of the sink, and could have role %q run what it likes", grantee, kind, name, s.schema, role)
		case strings.HasPrefix(kind, "hanging "):
			const try = "find out which role made it, and drop it; where a dump was restored, restore it again into a new database in which no other role " +
				"may create: docs/operations.md, Backup and restore"
			return fault.New(fault.Usage, try,
				"%q in schema %q of the sink has a %s that wal2vec init does not write, and could have role %q run what it likes",
				name, s.schema, strings.TrimPrefix(kind, "hanging "), role)
		case len(kind) > 1: // the kind and the name of what hangs on a table
			return fault.New(fault.Usage, "find out what it is and who made it, and drop it",
				"%q in schema %q of the sink has a %s of role %q, which could have role %q run what it likes", name, s.schema, kind, owner, role)
		case !trusted:
			return fault.New(fault.Usage, known+"; if not, have its owner drop or rename it",
				"%q in schema %q of the sink belongs to role %q, which could have role %q run what it likes", name, s.schema, owner, role)
		case name != "":
			return fault.New(fault.Usage, "find out what it is, and drop or rename it as its owner",
				"%q in schema %q of the sink is not a table", name, s.schema)
		}
		return nil
	})
	if found, is := errors.AsType[*fault.Error](err); is {
		return false, &UntrustedError{found}
	}
	if err != nil {
		return false, s.explain(err, "asking whose wal2vec's tables are")
	}
	return exists, nil
}

// UntrustedError says which role could run code by wal2vec's tables; see Trusted. It is a fault of
// kind Usage.
type UntrustedError struct{ found *fault.Error }

// Error is that of the fault.
func (e *UntrustedError) Error() string { return e.found.Error() }

// Unwrap returns the fault.
func (e *UntrustedError) Unwrap() error { return e.found }

// CheckView returns a fault of kind Usage where view or its schema, as far as they are there,
// belong to a role that Trusted would not pass, or the view is another than init writes: a view's
// functions run with the rights of who reads it, whatever role it was given to since. This program
// does not read it.
func (s *Sink) CheckView(ctx context.Context) error {
	schema, name, err := s.currentView(ctx)
	if err != nil {
		return err
	}
	rows, err := s.pool.Query(ctx, s.query("view_owners"), schema, name, s.owner)
	if err != nil {
		return fmt.Errorf("asking whose the view is: %w", err)
	}
	var found, owner string
	var trusted bool
	_, err = pgx.ForEachRow(rows, []any{&found, &owner, &trusted}, func() error {
		if trusted {
			return nil
		}
		// To give the schema away would leave what is in it, and the rights on it that its owner
		// gave.
		what, repair := fmt.Sprintf("schema %q of the view", schema), "give the view another name, in a schema of its own: sink.view"
		if found != "" {
			what, repair = fmt.Sprintf("view %s.%s", schema, name), DropViewSQL(schema, name)
		}
		return fault.New(fault.Usage, repair,
			"%s belongs to role %q, which could have any role that reads the view run what it likes", what, owner)
	})
	if err != nil {
		return s.explain(err, "asking whose the view is")
	}
	return s.checkQuery(ctx, schema, name)
}

// DropViewSQL is the advice where another view is in the place of the pipeline's.
func DropViewSQL(schema, name string) string {
	return "DROP VIEW " + pgname.Qualified(schema, name) + "; -- then: wal2vec init, as the role that set it up; " +
		"if the view is for another program, set another name: sink.view"
}

// checkQuery advises to have the view made again, never to give it to another role: what it calls
// would stay.
func (s *Sink) checkQuery(ctx context.Context, schema, name string) error {
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return err
	}
	p, err := s.inspectView(ctx, s.pool, schema, name, viewColumns(st.Table.Key), st.vectorTables()...)
	if err != nil || !p.exists || p.plain || !p.ours {
		return err
	}
	return fault.New(fault.Usage, DropViewSQL(schema, name),
		"view %s.%s is not as wal2vec init writes it: what it calls runs with the rights of any role that reads it", schema, name)
}
