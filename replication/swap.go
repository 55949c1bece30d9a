package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// SwapError says that another table has the name of the one that is followed. It is the cause of a
// fault of kind Gap.
type SwapError struct {
	// Was and Is are the object ids.
	Was, Is uint32
}

// Error names both.
func (e *SwapError) Error() string {
	return fmt.Sprintf("its object id was %d and is %d, and the publication follows the old one", e.Was, e.Is)
}

// ErrNoTable is the cause of a fault of kind Gap: no table has the name of the one that is
// followed.
var ErrNoTable = errors.New("no table has its name")

// CheckName returns a fault of kind Gap when the table's name belongs to another table (SwapError)
// or to none (ErrNoTable). It waits for no lock of another's.
func CheckName(ctx context.Context, db Querier, table change.Table) error {
	now, err := TableOID(ctx, db, table.Schema, table.Name)
	switch {
	case err != nil:
		return err
	case now == 0:
		return fault.Wrap(ErrNoTable, fault.Gap, resync, "table %s.%s no longer exists", table.Schema, table.Name)
	case now != table.OID:
		return fault.Wrap(&SwapError{Was: table.OID, Is: now}, fault.Gap, resync, "table %s.%s was replaced", table.Schema, table.Name)
	default:
		return nil
	}
}

// TableOID returns the object id of the table that has a name now; zero when none has.
func TableOID(ctx context.Context, db Querier, schema, name string) (oid uint32, err error) {
	if err := db.QueryRow(ctx, sql.Query("source_table_oid"), schema, name).Scan(&oid); err != nil {
		return 0, fmt.Errorf("looking up table %s.%s: %w", schema, name, err)
	}
	return oid, nil
}

// lacks is what the key needs and a table lacks.
type lacks struct {
	notNull    []string // key columns that may be NULL
	readable   []string // columns that this role may not read
	index      bool     // there is no unique index on exactly the key
	identities []string // statements that give relations an identity that holds the key
}

// Swap is a table that is to be followed in place of another of its name.
type Swap struct {
	Publication string
	// Table says what the new table is, and what is needed of it.
	Table InspectOptions
	// Key is the key of the pipeline, which the new table must have.
	Key []change.Column
	// Is is the new table's object id.
	Is uint32
	// Besides are columns that are read too, and that the function gives where it did before.
	Besides []string
	// Function is the name of the function that does it for its owner; see SwapFunction.
	Function pgx.Identifier
	// RunAs is the role that is to own function and publication; "" leaves them as they are.
	RunAs string
	// Readers are roles that are to read rows of the table and stream nothing: they get the right
	// to call the function, and by it the columns of each new table.
	Readers []string
	// Printed says that another role is to run the statements, a superuser or one with the rights
	// of all owners: what lacks for a moment, they give and take back.
	Printed bool
	// Shared are roles that stream another pipeline of the sink: what they may read is taken from
	// them only where functions tell what that needs.
	Shared []string
	// Listed are the columns that the publication was last seen to list for the table of before;
	// nil without a list, or where it was not seen.
	Listed []string
}

// lockWait is how long a try waits for a lock on the new table: a session that comes after it waits
// as long, readers too.
const lockWait = 300 * time.Millisecond

// InspectSwapped is Inspect for a table that has taken another's place: what PrepareSwap gives it,
// it may lack.
func InspectSwapped(ctx context.Context, db Querier, opts InspectOptions) (change.Table, error) {
	i, err := inspectSwapped(ctx, db, opts)
	if err != nil {
		return change.Table{}, err
	}
	return i.table, nil
}

func inspectSwapped(ctx context.Context, db Querier, opts InspectOptions) (*inspection, error) {
	i := newInspection(db, opts)
	i.lacks = &lacks{}
	return i, i.run(ctx)
}

// PrepareSwap makes the publication carry the new table, with no writer in flight, after that has
// got what the key needs: a unique index, NOT NULL, and a replica identity. Never does the
// publication carry a table whose UPDATE and DELETE it would make fail. It does so as the owner, or
// by the function. From the position that it returns on, the log brings all that happens to the
// table, and new snapshots see all that happened to it before; the caller reads the log so that no
// position of it is taken for reached before the new table's transactions up to there are visible.
//
// A lock that is not free is a fault of kind Unavailable: try again. Rows that share a key, or have
// none, and rights that lack are of kind Gap, the latter with the statements to run. A column that
// lacks is of kind Usage. The error of yet another table of that name is a SwapError.
func PrepareSwap(ctx context.Context, connString string, s Swap) (change.LSN, error) {
	conn, err := connect(ctx, connString, "wal2vec/swap")
	if err != nil {
		return 0, err
	}
	defer closeQuietly(ctx, conn)
	left, err := s.plan(ctx, conn)
	if err != nil {
		return 0, err
	}
	if !left.done() {
		err = s.prepare(ctx, connString, conn, left)
	} else {
		err = s.waitForWriters(ctx, conn)
	}
	if err != nil {
		return 0, err
	}
	failpoint.Hit("swap_prepared")
	var end change.LSN
	if err := conn.QueryRow(ctx, sql.Query("source_insert_lsn")).Scan(&end); err != nil {
		return 0, fmt.Errorf("reading the end of the source's log: %w", err)
	}
	return end.RecordEnd(), nil
}

// steps are what is left to do with the new table, which is locked first.
type steps struct {
	lock string
	// still fails where the name is another table's by then.
	still string
	// nulls is true where a column becomes NOT NULL.
	nulls bool
	// index is committed by itself; "" when there is one. The rest wait for the table's readers,
	// and would have it built again with each try, while its writers wait.
	index string
	// alters are those that alter the table, rest those behind them: rights and publication.
	alters, rest []string
	// identifies is true where it gets a replica identity.
	identifies bool
	// against is why the publication cannot carry the table as it did the one before; empty where
	// it can.
	against string
}

func (p steps) done() bool { return p.index == "" && len(p.alters) == 0 && len(p.rest) == 0 }

// advice is the next transaction that another role has to run. What alters the table comes first
// and by itself: it may run functions that the table's owner wrote, and with the rest it would be
// for a role that has the rights of both owners. The next start of the stream does the rest, or
// says it.
func (p steps) advice() string {
	if p.index == "" && len(p.alters) == 0 {
		return "/* with the rights of both owners */ " + pgname.Script(append([]string{p.lock, p.still}, p.rest...)...)
	}
	statements := []string{p.lock}
	if p.index != "" {
		statements = append(statements, p.index)
	}
	return pgname.Script(append(statements, p.alters...)...) + byOwner + "; then: wal2vec stream"
}

// plan returns what is left to do.
func (s Swap) plan(ctx context.Context, db Querier) (left steps, err error) {
	i, err := inspectSwapped(ctx, db, s.Table)
	// What was found may be of the table that has come or gone since.
	if nameErr := CheckName(ctx, db, change.Table{Schema: s.Table.Schema, Name: s.Table.Table, OID: s.Is}); nameErr != nil {
		if errors.Is(nameErr, ErrNoTable) {
			return left, fault.Wrap(nameErr, fault.Unavailable, "", "preparing the new table")
		}
		return left, nameErr
	}
	switch {
	case err != nil:
		return left, err
	case !change.SameKey(i.table.Key, s.Key):
		return left, fault.New(fault.Usage, "give the new pipeline another name (pipeline:), or remove the old one: wal2vec teardown",
			"table %s was replaced by one whose key has other types: %v, not %v", i.name, i.table.Key, s.Key)
	}
	left.lock, left.still = fmt.Sprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", i.name), i.still()
	if i.lacks.index {
		index := pgname.Identifier(i.index)
		left.index = fmt.Sprintf("CREATE UNIQUE INDEX %s ON %s (%s)", index, i.name, pgname.List(s.Table.Key))
	}
	if columns := i.lacks.notNull; len(columns) > 0 {
		left.nulls = true
		actions := make([]string, len(columns))
		for n, c := range columns {
			actions[n] = fmt.Sprintf("ALTER COLUMN %s SET NOT NULL", pgname.Identifier(c))
		}
		left.alters = append(left.alters, fmt.Sprintf("ALTER TABLE %s %s", i.name, strings.Join(actions, ", ")))
	}
	left.alters = append(left.alters, i.lacks.identities...)
	if columns := i.lacks.readable; len(columns) > 0 {
		left.rest = append(left.rest, grantSQL(i.name, i.role(), columns))
	}
	left.identifies = len(i.lacks.identities) > 0
	return left, s.publish(ctx, db, i, &left)
}

// prepare runs what is left to do, as the owner or by the function.
func (s Swap) prepare(ctx context.Context, connString string, conn *pgx.Conn, left steps) error {
	rights, err := s.Rights(ctx, conn)
	if err != nil {
		return err
	}
	run := func() error { return s.locking(ctx, conn, left) }
	forgets, err := s.forgets(ctx, conn, rights)
	switch {
	case err != nil:
		return err
	case left.against != "":
		return s.forOwner(left, fmt.Sprintf("publication %q %s", s.Publication, left.against))
	case rights.Owns():
	case rights.Function && forgets:
		return s.forOwner(left, fmt.Sprintf("function %s() does not know the columns that publication %q listed",
			pgname.Catalogue(s.Function...), s.Publication))
	case rights.Function:
		run = func() error { return s.call(ctx, connString, conn, left) }
	case rights.Refused != "":
		return s.forOwner(left, fmt.Sprintf("it belongs to %s, and %s", rights.Owner, rights.Refused))
	default:
		return s.forOwner(left, fmt.Sprintf("role %q owns not both it and publication %q", rights.Role, s.Publication))
	}
	const transactions = 2 // the index, and the rest
	for n := 0; n < transactions && err == nil && !left.done(); n++ {
		if err = run(); err == nil {
			left, err = s.plan(ctx, conn)
		}
	}
	switch {
	case fault.SQLSTATE(err) == "42501", !rights.Owns() && fault.SQLSTATE(err) == "0A000": // not in the function's power
		return s.forOwner(left, err.Error())
	case err == nil && !left.done():
		return s.forOwner(left, "something is left to do")
	default:
		return s.explain(err)
	}
}

// call has the function do the next step, in a transaction of its own: the function makes sure of
// it. It is looked at once more right before that, and called by the object id that was looked at:
// who may put another function into its schema can drop it, and no more. The session ends with the
// call: what code in it might leave there, such as other statements by the names of ours, runs
// nowhere.
func (s Swap) call(ctx context.Context, connString string, conn *pgx.Conn, left steps) error {
	calling, err := connect(ctx, connString, "wal2vec/swap")
	if err != nil {
		return err
	}
	defer closeQuietly(ctx, calling)
	rights, err := s.Rights(ctx, conn)
	if err != nil {
		return err
	}
	if !rights.Function {
		return s.forOwner(left, fmt.Sprintf("function %s() has changed, or is no longer this role's to call", pgname.Catalogue(s.Function...)))
	}
	err = callByID(ctx, calling, rights.oid)
	if fault.SQLSTATE(err) == "42883" { // it went since
		return s.forOwner(left, err.Error())
	}
	return err
}

// asOwner plans again when the table is locked, and runs the next step of that. left is the plan of
// before.
func (s Swap) asOwner(ctx context.Context, tx pgx.Tx, left steps) error {
	name := pgname.Qualified(s.Table.Schema, s.Table.Table)
	tree, err := s.tree(ctx, tx)
	// An index is built as the table's owner, and takes its time, in which no other role should
	// wait for the schema.
	pinned := left.index == ""
	if pinned && err == nil {
		tree, err = s.pinTree(ctx, tx)
	}
	if err != nil {
		return err
	}
	// LOCK TABLE takes a view and what stands behind it. The first lock waits for nothing; then the
	// name stays with what has it.
	if err := statement.Run(ctx, tx, fmt.Sprintf("LOCK TABLE ONLY %s IN ACCESS SHARE MODE NOWAIT", name)); err != nil {
		return err
	}
	if err := s.guard(ctx, tx, left); err != nil {
		return err
	}
	if err := statement.Run(ctx, tx, fmt.Sprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", name)); err != nil {
		return err
	}
	left, err = s.plan(ctx, tx)
	if err == nil {
		err = s.guard(ctx, tx, left)
	}
	if err != nil {
		return err
	}
	statements := slices.Concat(left.alters, left.rest)
	if left.index != "" {
		statements = []string{left.index} // built with the rights of the table's owner, no matter which role asks for it
	} else if err := s.checkCode(ctx, tx, left); err != nil {
		return err
	}
	locked, err := s.tree(ctx, tx)
	if err != nil {
		return err
	}
	if left.index == "" && (!pinned || slices.ContainsFunc(locked.schemas, func(schema string) bool { return !slices.Contains(tree.schemas, schema) })) {
		return s.moved()
	}
	for _, step := range statements {
		if err := statement.Run(ctx, tx, step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return s.settled(ctx, tx, locked)
}

// guard returns a fault of kind Gap where the table, which is locked, would have this role run what
// its owner wrote; see source_swap_guard.
func (s Swap) guard(ctx context.Context, tx pgx.Tx, left steps) error {
	var reason string
	query, err := sql.Render("source_swap_guard", nil)
	if err == nil {
		err = tx.QueryRow(ctx, query, s.Table.Schema, s.Table.Table, left.identifies, left.index != "").Scan(&reason)
	}
	if err != nil {
		return fmt.Errorf("looking at what the new table would run: %w", err)
	}
	if reason != "" {
		return s.forOwner(left, reason)
	}
	return nil
}

// locking runs asOwner in a transaction whose waits for locks are short, and which builds an index
// by itself: to choose how many workers build one the server plans a read of the table, and
// evaluates what is constant in its other indexes and in its statistics, which is code of the
// table's owner.
func (s Swap) locking(ctx context.Context, conn *pgx.Conn, left steps) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		const settings = "SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('max_parallel_maintenance_workers', '0', true)"
		if _, err := tx.Exec(ctx, settings, strconv.FormatInt(lockWait.Milliseconds(), 10)); err != nil {
			return err
		}
		return s.asOwner(ctx, tx, left)
	})
}

// forOwner is the fault of a swap that another role has to prepare.
func (s Swap) forOwner(left steps, why string) error {
	return fault.New(fault.Gap, left.advice(), "table %s.%s was replaced, and cannot be followed: %s", s.Table.Schema, s.Table.Table, why)
}

// explain tells what of the server's refusals time repairs, and what the rows are to blame for.
func (s Swap) explain(err error) error {
	const said = "table %s.%s was replaced, and cannot be followed"
	switch fault.SQLSTATE(err) {
	case "55P03", "40P01": // lock not available, deadlock
		return fault.Wrap(err, fault.Unavailable, "", "preparing the table that has taken the place of %s.%s", s.Table.Schema, s.Table.Table)
	case "23505":
		return fault.Wrap(err, fault.Gap, "make the key unique", said+": rows share a key: %s", s.Table.Schema, s.Table.Table, detailOf(err))
	case "23502":
		return fault.Wrap(err, fault.Gap, "give every row a key", said+": a row has no key", s.Table.Schema, s.Table.Table)
	default:
		return err
	}
}

// detailOf is the line with which the server names the row.
func detailOf(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Detail
	}
	return ""
}

// writersInterval is how often it is asked whether a writer has ended.
const writersInterval = 50 * time.Millisecond

// waitForWriters waits until the transactions that may have changed the table are visible to new
// snapshots: those that have the locks now.
func (s Swap) waitForWriters(ctx context.Context, db Querier) error {
	first, err := Writers(ctx, db, s.Is)
	if err != nil {
		return err
	}
	tick := time.NewTicker(writersInterval)
	defer tick.Stop()
	for left := first; len(left) > 0; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		now, err := Writers(ctx, db, s.Is)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(w string) bool { return !slices.Contains(now, w) })
	}
	return nil
}

// Writers returns the transactions that may have changed a table and are not visible to every new
// snapshot yet, by the names that pg_locks has for them.
func Writers(ctx context.Context, db Querier, oid uint32) ([]string, error) {
	rows, err := db.Query(ctx, sql.Query("source_writers"), oid)
	if err != nil {
		return nil, fmt.Errorf("looking for writers of the table: %w", err)
	}
	writers, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking for writers of the table: %w", err)
	}
	return writers, nil
}

// UnpublishSQL returns the statement that takes a table out of the publication whose place another
// took, by their object ids, and the role that owns the publication; "" where there is none to take
// out. The object id comes from the pipeline's row, which a stream's role may write: a publication
// that carries tables of others loses only what wal2vec noted there.
func UnpublishSQL(ctx context.Context, db Querier, publication string, was, is uint32) (step, owner string, err error) {
	var schema, name string
	err = db.QueryRow(ctx, sql.Query("source_swap_old"), publication, was, is).Scan(&schema, &name, &owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("looking for the old table: %w", err)
	}
	return fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s", pgname.Identifier(publication), pgname.Qualified(schema, name)), owner, nil
}
