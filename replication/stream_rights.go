package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// ReadColumns are the columns that a stream reads: those of key, template and soft delete, each
// once.
func (o InspectOptions) ReadColumns() []string {
	columns := slices.Concat(o.Key, o.Template.Columns())
	if o.SoftDelete != "" {
		columns = append(columns, o.SoftDelete)
	}
	var once []string
	for _, c := range columns {
		if !slices.Contains(once, c) {
			once = append(once, c)
		}
	}
	return once
}

// StreamGrantsSQL returns the statements that let roles read the columns that a stream reads of the
// present table, and nothing else of it; none where they may. It grants nothing twice: a column
// whose rights change is looked at again by the stream.
func StreamGrantsSQL(ctx context.Context, db Querier, s Swap, roles []string) ([]string, error) {
	var statements []string
	for _, role := range roles {
		rows, err := db.Query(ctx, sql.Query("source_stream_lacks"), s.Is, s.Table.ReadColumns(), role)
		if err != nil {
			return nil, fmt.Errorf("asking what role %q may read: %w", role, err)
		}
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if fault.SQLSTATE(err) == "42704" {
			return nil, fault.Wrap(err, fault.Usage, "create the role first: deploy/roles.sql", "asking what role %q may read", role)
		}
		if err != nil {
			return nil, fmt.Errorf("asking what role %q may read: %w", role, err)
		}
		if len(columns) > 0 {
			statements = append(statements, grantSQL(pgname.Qualified(s.Table.Schema, s.Table.Table), pgname.Identifier(role), columns))
		}
	}
	return statements, nil
}

// grantSQL lets a role read columns; table and role are quoted.
func grantSQL(table, role string, columns []string) string {
	return fmt.Sprintf("GRANT SELECT (%s) ON TABLE %s TO %s", pgname.List(columns), table, role)
}

// RevokeStreamSQL returns the statements that take back from roles what init --grant-stream gave
// them in the source: the right to call the function, and to read columns one by one of the table
// and of those that had its name before, but for those that another pipeline's function gives them
// too, and but for those of a role that streams another pipeline where no function tells what that
// reads (see Kept). A right to the whole table, to its schema or to the server was given by
// another, and stays. None where they have nothing; a role that does not exist has nothing.
func RevokeStreamSQL(ctx context.Context, db Querier, s Swap, roles ...string) ([]string, error) {
	statements, _, err := s.takeBack(ctx, db, roles)
	return statements, err
}

// takeBack returns the statements of RevokeStreamSQL and what roles have that they take.
func (s Swap) takeBack(ctx context.Context, db Querier, roles []string) (statements []string, has []given, err error) {
	before, err := s.noted(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	past := s
	past.Shared = nil // no pipeline reads a table that has lost its name
	for _, role := range roles {
		given, err := s.given(ctx, db, s.Table.Schema, s.Table.Table, role)
		if err != nil {
			return nil, nil, err
		}
		has = append(has, given)
		if given.calls {
			takes, err := s.uncallSQL(given.function, roles, role)
			if err != nil {
				return nil, nil, err
			}
			statements = append(statements, takes...)
		}
		revoke, err := given.revokeSQL()
		if err != nil {
			return nil, nil, err
		}
		statements = append(statements, revoke...)
		for _, t := range before {
			if t.schema == s.Table.Schema && t.name == s.Table.Table {
				continue
			}
			if given, err = past.given(ctx, db, t.schema, t.name, role); err != nil {
				return nil, nil, err
			}
			has = append(has, given)
			if revoke, err = given.revokeSQL(); err != nil {
				return nil, nil, err
			}
			statements = append(statements, revoke...)
		}
	}
	return statements, has, nil
}

// uncallSQL takes the function from a role that is one of those to be revoked. What another than
// the owner gave it goes with the right to give that.
func (s Swap) uncallSQL(now present, revoked []string, role string) (statements []string, err error) {
	if now.passed {
		left := slices.DeleteFunc(slices.Clone(now.roles), func(r string) bool { return slices.Contains(revoked, r) })
		regrant, err := s.regrantSQL(left)
		if err != nil {
			return nil, err
		}
		statements = append(statements, regrant)
	}
	return append(statements, fmt.Sprintf("REVOKE ALL ON FUNCTION %s() FROM %s CASCADE", pgname.Catalogue(s.Function...), pgname.Identifier(role))), nil
}

// given is what a role was given for a stream of a table.
type given struct {
	schema, table, role string
	columns             []string // those of other pipelines' functions are left out
	ours                bool     // this role has the rights of the table's owner
	calls               bool     // it may call the function
	function            present
	kept                []string // columns that it may read for another pipeline, as far as can be told
}

func (s Swap) given(ctx context.Context, db Querier, schema, table, role string) (given, error) {
	g := given{schema: schema, table: table, role: role}
	now, err := s.present(ctx, db)
	if err != nil {
		return g, err
	}
	g.function = now
	function := new(pgname.Catalogue(s.Function...))
	if now.exists && !s.made(now) { // that of another pipeline
		function = nil
	}
	var others []string
	var told bool
	err = db.QueryRow(ctx, sql.Query("source_stream_granted"), schema, table, function, role).
		Scan(&g.columns, &g.ours, &g.calls, &others, &told)
	if errors.Is(err, pgx.ErrNoRows) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("asking what role %q was given: %w", role, err)
	}
	if !told && slices.Contains(s.Shared, role) {
		g.columns, g.kept = nil, g.columns
	}
	for _, body := range others {
		if ofTable(body, schema, table) {
			g.columns = notRead(body, g.columns)
		}
	}
	return g, nil
}

func (g given) revokeSQL() ([]string, error) {
	if len(g.columns) == 0 {
		return nil, nil
	}
	if !g.ours {
		return nil, fault.New(fault.Usage, g.takes()+";", "only the owner of table %s can take back what role %s may read of it",
			pgname.Qualified(g.schema, g.table), pgname.Identifier(g.role))
	}
	return []string{g.takes()}, nil
}

func (g given) takes() string {
	return fmt.Sprintf("REVOKE SELECT (%s) ON TABLE %s FROM %s CASCADE",
		pgname.List(g.columns), pgname.Qualified(g.schema, g.table), pgname.Identifier(g.role))
}

// Kept returns a line for each role that keeps columns of the table which RevokeStreamSQL would
// have taken, and for each table that may have been the pipeline's and is not known to be, with the
// statement that takes them.
func Kept(ctx context.Context, db Querier, s Swap, roles ...string) ([]string, error) {
	var lines []string
	before, err := s.noted(ctx, db)
	if err != nil {
		return nil, err
	}
	known := []uint32{}
	for _, t := range before {
		known = append(known, t.oid)
	}
	for _, role := range roles {
		g, err := s.given(ctx, db, s.Table.Schema, s.Table.Table, role)
		if err != nil {
			return nil, err
		}
		if len(g.kept) > 0 {
			g.columns = g.kept
			why := "it streams another pipeline of this sink"
			if role == s.Table.Reader {
				why = "it may read for another pipeline of this sink"
			}
			lines = append(lines, fmt.Sprintf("what role %s may read of table %s, since %s, which may need it: %s;",
				pgname.Identifier(role), pgname.Qualified(g.schema, g.table), why, g.takes()))
		}
		others, err := s.elsewhere(ctx, db, role, known)
		if err != nil {
			return nil, err
		}
		for _, g := range others {
			lines = append(lines, fmt.Sprintf("what role %s may read of table %s, which has the owner and the columns of %s: "+
				"if it had that name once, or is a part of it, and no other pipeline reads it: %s;",
				pgname.Identifier(role), pgname.Qualified(g.schema, g.table), pgname.Qualified(s.Table.Schema, s.Table.Table), g.takes()))
		}
	}
	return lines, nil
}

// elsewhere is what a role may read of tables that may have been the pipeline's: no note tells it.
func (s Swap) elsewhere(ctx context.Context, db Querier, role string, known []uint32) ([]given, error) {
	rows, err := db.Query(ctx, sql.Query("source_stream_elsewhere"), s.Table.Schema, s.Table.Table, known, role, s.Table.ReadColumns())
	if err != nil {
		return nil, fmt.Errorf("asking what role %q was given: %w", role, err)
	}
	others, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (given, error) {
		g := given{role: role}
		return g, row.Scan(&g.schema, &g.table, &g.columns)
	})
	if err != nil {
		return nil, fmt.Errorf("asking what role %q was given: %w", role, err)
	}
	return others, nil
}

// MayFollow returns those of the roles that were given the right to call the function.
func MayFollow(ctx context.Context, db Querier, s Swap, roles ...string) ([]string, error) {
	var may []string
	for _, role := range roles {
		given, err := s.given(ctx, db, s.Table.Schema, s.Table.Table, role)
		if err != nil {
			return nil, err
		}
		if given.calls {
			may = append(may, role)
		}
	}
	return may, nil
}

// RevokeStream runs the statements of RevokeStreamSQL in one transaction, and returns them. What
// only the table's owner may do is a fault of kind Usage, and so is a right that a role has still,
// since another role gave it: PostgreSQL says nothing of those.
func RevokeStream(ctx context.Context, conn *pgx.Conn, s Swap, roles ...string) ([]string, error) {
	statements, before, err := s.takeBack(ctx, conn, roles)
	if err != nil || len(statements) == 0 {
		return nil, err
	}
	if err := s.inOne(ctx, conn, statements, takingBack, func(tx pgx.Tx) error { return s.seenTaken(ctx, tx, before) }); err != nil {
		return nil, err
	}
	return statements, nil
}

// seenTaken looks at what roles had, and is taken.
func (s Swap) seenTaken(ctx context.Context, db Querier, before []given) error {
	for _, g := range before {
		var function *string
		if g.calls {
			function = new(pgname.Catalogue(s.Function...))
		}
		rows, err := db.Query(ctx, sql.Query("source_stream_left"), g.schema, g.table, g.columns, function, g.role)
		if err != nil {
			return fmt.Errorf("looking at the rights of role %q: %w", g.role, err)
		}
		var right, thing, grantor string
		_, err = pgx.ForEachRow(rows, []any{&right, &thing, &grantor}, func() error {
			return fault.New(fault.Usage, "have role "+pgname.Identifier(grantor)+", which gave it, take it back, and run this again",
				"role %q keeps %s on %s, which role %q gave it: nothing was taken", g.role, right, thing, grantor)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seenGiven looks at what roles were to get.
func (s Swap) seenGiven(ctx context.Context, db Querier, roles []string) error {
	for _, role := range roles {
		lacks, err := StreamGrantsSQL(ctx, db, s, []string{role})
		if err != nil {
			return err
		}
		if len(lacks) > 0 {
			return fault.New(fault.Usage, "run it as the owner of the table", "role %q may not read what it was to be given", role)
		}
	}
	return nil
}
