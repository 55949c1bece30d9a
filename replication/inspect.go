package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// InspectOptions name the source table and what is needed of it.
type InspectOptions struct {
	Schema, Table string
	// Key lists the key columns.
	Key      []string
	Template change.Template
	// SoftDelete is the column that marks deleted rows; empty when there is none.
	SoftDelete string
	// Reader is the role that reads the table's rows, where that is another than the session's.
	Reader string
	// Unread says that neither role has to have its rights yet.
	Unread bool
	// TrustOwner says that this session may read the table of another role.
	TrustOwner bool
	// Publication is the one whose settings belong to the table's shape; may be empty.
	Publication string
}

// Inspect reads the table from the catalogue and returns its description. What would keep its rows
// from being read or followed exactly is a fault of kind Usage that names it and, where one
// statement repairs it, that statement.
func Inspect(ctx context.Context, db Querier, opts InspectOptions) (change.Table, error) {
	for look := 1; ; look++ {
		i := newInspection(db, opts)
		err := i.run(ctx)
		if err == nil {
			err = i.shape(ctx)
		}
		gone := err == nil && len(i.table.Shape) == 0 // since its columns were read
		switch {
		case err == nil && !gone:
			return i.table, nil
		case look < mostLooks && (gone || i.moved(ctx, err)):
		case gone:
			return change.Table{}, fault.New(fault.Unavailable, "", "table %s was replaced during each of %d looks at it", i.name, look)
		default:
			return change.Table{}, err
		}
	}
}

// mostLooks bounds how often a table is looked at because another took its name during the look.
const mostLooks = 5

// moved reports whether what went wrong may be that the statements of one look have seen two
// tables, or one that is gone.
func (i *inspection) moved(ctx context.Context, err error) bool {
	if fault.Moving(err) {
		return true
	}
	if i.table.OID == 0 || fault.KindOf(err) != fault.Usage {
		return false
	}
	now, lookErr := TableOID(ctx, i.db, i.opts.Schema, i.opts.Table)
	return lookErr == nil && now != 0 && now != i.table.OID
}

// Aspect is a part of what is needed of a table.
type Aspect string

// The aspects, in the order in which they are looked at.
const (
	AspectRelation Aspect = "relation" // it is there, of a kind that is logged, and may be read
	AspectColumns  Aspect = "columns"
	AspectKey      Aspect = "key" // a unique index
	AspectIdentity Aspect = "identity"
)

// Problem is the first thing that is wrong with an aspect of a table.
type Problem struct {
	Aspect Aspect
	Err    error
}

// Examine is Inspect that goes on after a problem: at most one an aspect, in the order of the
// aspects. Those that cannot be looked at because of an earlier problem are left out. The table is
// complete only without problems.
func Examine(ctx context.Context, db Querier, opts InspectOptions) (change.Table, []Problem) {
	i := newInspection(db, opts)
	var problems []Problem
	for _, step := range i.steps() {
		err := step.look(ctx)
		if err == nil {
			continue
		}
		problems = append(problems, Problem{Aspect: step.aspect, Err: err})
		if step.aspect == AspectRelation || step.aspect == AspectKey { // the rest looks at the relation; an identity is repaired by the index
			break
		}
	}
	return i.table, problems
}

func newInspection(db Querier, opts InspectOptions) *inspection {
	return &inspection{
		db: db, opts: opts, name: pgname.Qualified(opts.Schema, opts.Table),
		table: change.Table{Schema: opts.Schema, Name: opts.Table, Template: opts.Template, SoftDelete: opts.SoftDelete},
	}
}

// step looks at an aspect.
type step struct {
	aspect Aspect
	look   func(context.Context) error
}

func (i *inspection) steps() []step {
	return []step{{AspectRelation, i.relation}, {AspectColumns, i.columns}, {AspectKey, i.key}, {AspectIdentity, i.identity}}
}

func (i *inspection) run(ctx context.Context) error {
	for _, step := range i.steps() {
		if err := step.look(ctx); err != nil {
			return err
		}
	}
	return nil
}

type inspection struct {
	db   Querier
	opts InspectOptions
	name string // quoted, with schema
	user string
	// apart is true where a role of its own has to read the rows, and no setting names it.
	apart bool
	// version is server_version_num.
	version int
	table   change.Table
	index   string // the unique index on the key
	lacks   *lacks // notes what the key needs and the table lacks; nil where that is to be refused
}

// relationKinds are the values of relkind that a user may take for a table.
var relationKinds = map[string]string{
	"v": "a view", "m": "a materialised view", "f": "a foreign table", "i": "an index", "S": "a sequence", "c": "a type",
}

func (i *inspection) relation(ctx context.Context) error {
	var kind, persistence string
	var usage, rowSecurity, children, foreign bool
	err := i.db.QueryRow(ctx, sql.Query("source_table"), i.opts.Schema, i.opts.Table, i.opts.Reader).
		Scan(&i.table.OID, &kind, &persistence, &usage, &rowSecurity, &children, &i.user, &i.version, &foreign)
	i.apart = foreign && i.opts.Reader == "" && !i.opts.TrustOwner
	i.table.Partitioned = kind == "p"
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.Missing("check source.table in the configuration; for a table of another name, wal2vec config init writes the settings",
			"table %s does not exist in the source database", i.name)
	case fault.SQLSTATE(err) == "42704" && i.opts.Reader != "":
		return fault.Wrap(err, fault.Usage, "create the role first: deploy/roles.sql", "asking what the role of source.read_dsn may read")
	case err != nil:
		return fmt.Errorf("inspecting table %s: %w", i.name, err)
	case relationKinds[kind] != "":
		return fault.New(fault.Usage, "name the table behind it", "%s is %s: the log carries changes of tables only", i.name, relationKinds[kind])
	case persistence != "p":
		return fault.New(fault.Usage, fmt.Sprintf("ALTER TABLE %s SET LOGGED;", i.name)+byOwner,
			"%s is unlogged or temporary: the log does not carry its changes", i.name)
	case children:
		return fault.New(fault.Usage, "name a table without children, or a partitioned one", "%s has child tables by inheritance", i.name)
	case !usage:
		return fault.New(fault.Usage, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", pgname.Identifier(i.opts.Schema), i.role()),
			"role %s may not use schema %s", i.role(), i.opts.Schema)
	case rowSecurity && !i.opts.Unread:
		return i.policies(ctx)
	default:
		return nil
	}
}

func (i *inspection) role() string { return pgname.Identifier(i.user) }

func (i *inspection) still() string { return pgname.Still(i.table.OID, i.opts.Schema, i.opts.Table) }

// byOwner stands behind advice that alters the table: another role that follows it would run
// functions that the owner put into a CHECK. SET ROLE does not help: such a function can take it
// back.
const byOwner = pgname.ByOwner

const boolOID = 16

// column is a row of source_columns.
type column struct {
	name, typ string
	place     int    // among the table's columns, from 0
	oid       uint32 // the type's
	baseOID   uint32 // that of base: whatever depends on what a type is looks at this one
	base      string // the type that typ is a domain over, or typ itself, without a modifier
	loose     string // the collation, where it holds different texts to be equal
	notNull   bool
	generated string // "s" stored, "v" virtual
	readable  bool
}

func (i *inspection) columns(ctx context.Context) error {
	all, err := i.readColumns(ctx)
	if err != nil {
		return err
	}
	for _, name := range i.opts.Key {
		c, err := i.logged(all, name, "the key")
		if err != nil {
			return err
		}
		if err := i.keyColumn(c); err != nil {
			return err
		}
		i.table.Key = append(i.table.Key, change.Column{Name: c.name, Type: change.Type(c.base), OID: c.oid})
	}
	if len(i.table.Key) == 0 {
		return fault.New(fault.Usage, "name the key columns in source.key", "no key column of %s is configured", i.name)
	}
	for _, name := range i.opts.Template.Columns() {
		// A generated column that the log lacks is read by the row's key, at the cost of one read a
		// batch.
		if _, err := i.readable(all, name, "the template"); err != nil {
			return err
		}
	}
	if i.opts.SoftDelete == "" {
		return nil
	}
	if _, found := all[i.opts.SoftDelete]; !found {
		return fault.New(fault.Usage, `set source.soft_delete: "" in the configuration if no column marks deleted rows, else the name of the one that does`,
			"%s has no column %s, which the soft-delete rule names", i.name, pgname.Identifier(i.opts.SoftDelete))
	}
	c, err := i.logged(all, i.opts.SoftDelete, "the soft-delete rule")
	i.table.SoftDeleteBool = c.baseOID == boolOID
	return err
}

func (i *inspection) readColumns(ctx context.Context) (map[string]column, error) {
	rows, err := i.db.Query(ctx, sql.Query("source_columns"), i.table.OID, i.opts.Reader)
	if err != nil {
		return nil, fmt.Errorf("inspecting the columns of %s: %w", i.name, err)
	}
	all := map[string]column{}
	var c column
	_, err = pgx.ForEachRow(rows, []any{&c.name, &c.typ, &c.oid, &c.baseOID, &c.base, &c.loose, &c.notNull, &c.generated, &c.readable}, func() error {
		c.place = len(all)
		all[c.name] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("inspecting the columns of %s: %w", i.name, err)
	}
	return all, nil
}

// readable finds a column that can be read.
func (i *inspection) readable(all map[string]column, name, purpose string) (column, error) {
	c, found := all[name]
	quoted := pgname.Identifier(name)
	switch {
	case !found:
		return c, fault.New(fault.Usage, "check the column's name in the configuration", "%s has no column %s, which %s names", i.name, quoted, purpose)
	case !c.readable && i.lacks != nil:
		if !slices.Contains(i.lacks.readable, name) {
			i.lacks.readable = append(i.lacks.readable, name)
		}
		return c, nil
	case !c.readable && !i.opts.Unread:
		return c, i.unreadable(all, name)
	default:
		return c, nil
	}
}

// unreadable names every column that is needed and not readable: a role has rights to columns, not
// to the table.
func (i *inspection) unreadable(all map[string]column, name string) error {
	var columns []string
	for _, needed := range i.opts.ReadColumns() {
		if c, found := all[needed]; found && !c.readable {
			columns = append(columns, needed)
		}
	}
	grant := "stream"
	if i.opts.Reader != "" {
		grant = "read"
	}
	try := pgname.Script(i.still(), grantSQL(i.name, i.role(), columns)) +
		" -- or, as the role that set the pipeline up: wal2vec init --grant-" + grant + "=ROLE"
	if i.apart {
		try = change.ReadApart
	}
	return &UnreadableError{fault.New(fault.Usage, try, "role %s may not read column %s of %s", i.role(), pgname.Catalogue(name), i.name)}
}

// UnreadableError is a fault of kind Usage: the role that reads may not read a column that is
// needed.
type UnreadableError struct{ refusal error }

func (e *UnreadableError) Error() string { return e.refusal.Error() }

func (e *UnreadableError) Unwrap() error { return e.refusal }

// logged finds a column that can be read, and that the log carries.
func (i *inspection) logged(all map[string]column, name, purpose string) (column, error) {
	c, err := i.readable(all, name, purpose)
	if err != nil {
		return c, err
	}
	quoted := pgname.Identifier(name)
	switch c.generated {
	case "v":
		return c, fault.New(fault.Usage, "make the column STORED, or name another column",
			"column %s of %s is generated and virtual: the log does not carry it, and %s needs it there", quoted, i.name, purpose)
	case "s":
		return c, i.generated(quoted, purpose)
	default:
		return c, nil
	}
}

// generated refuses a stored generated column on a server that never publishes one.
func (i *inspection) generated(quoted, purpose string) error {
	if i.version < publishesGenerated {
		return fault.New(fault.Usage, "name another column, or use PostgreSQL 18",
			"column %s of %s is generated: PostgreSQL %d does not publish it, and %s needs it in the log", quoted, i.name, i.version/10000, purpose)
	}
	return nil
}

func (i *inspection) keyColumn(c column) error {
	quoted := pgname.Identifier(c.name)
	if !change.Type(c.base).Known() {
		return fault.New(fault.Usage, "use a unique column of one of the types "+change.KeyTypes,
			"key column %s of %s is of type %s", quoted, i.name, c.typ)
	}
	if c.loose != "" {
		return fault.New(fault.Usage, "use a key column whose collation is deterministic",
			"key column %s of %s has the collation %q, which holds different texts to be equal: two keys of the log could be one row", quoted, i.name, c.loose)
	}
	if !c.notNull && i.lacks != nil {
		i.lacks.notNull = append(i.lacks.notNull, c.name)
		return nil
	}
	if !c.notNull {
		return fault.New(fault.Usage, fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;", i.name, quoted)+byOwner,
			"key column %s of %s may be NULL", quoted, i.name)
	}
	return nil
}
