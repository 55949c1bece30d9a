package rows

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sql"
)

// Options are the settings of a Reader.
type Options struct {
	// ConnString leads to the primary that is streamed.
	ConnString string
	Table      change.Table
	// SystemID and Timeline are those of the pipeline, which the server must have; not checked when
	// empty or zero.
	SystemID string
	Timeline int32
	// Database is the one that the server must name as the session's; not checked when empty.
	Database string
	// Followed is the object id that the table of that name must have where it is read; zero for
	// whichever has the name.
	Followed uint32
	// Publication is the one that carries the table: its owner has the rights of the table's, if it
	// is there. Not looked at when empty.
	Publication string
	// Application is the session's application_name; "wal2vec/backfill" when empty.
	Application string
	// StatementTimeout bounds each statement; one minute when zero.
	StatementTimeout time.Duration
	// TrustOwner has the table read whatever functions of other roles that calls, and whatever this
	// session may do that its owner may not.
	TrustOwner bool
	// LookAgain is after how long it is asked again what the session may do beyond reading; one
	// minute when zero.
	LookAgain time.Duration
	// Warn is told once of such functions, where the table is read all the same; may be nil.
	Warn func(change.Code)
}

const (
	defaultStatementTimeout = time.Minute
	defaultLookAgain        = time.Minute
	closeTimeout            = 5 * time.Second
)

// Reader reads rows of one table over one connection. It may be used by several goroutines, one at
// a time inside.
type Reader struct {
	opts Options
	row  selection

	mu sync.Mutex
	// counts says that the last chunk had rows so large that the server is to count their bytes.
	counts bool
	// conn is nil when there is none; session numbers the connections from 1.
	conn    *pgconn.PgConn
	session uint64
	role    string // of the last connection
	kind    string // of the table, as pg_class has it; empty where there is none of that name
	oid     string // of that table
	reader  string // the statement that looks at it in each read, if any; see Reader.guard
	looked  time.Time
	// types are those columns that source_types names; columns are the names and types of all as
	// source_types_now tells them.
	types   map[string]string
	columns [][]byte
	policed bool // row policies of the table apply to that role
	warned  bool
}

// NewReader returns a reader that has not connected yet.
func NewReader(opts Options) *Reader {
	if opts.StatementTimeout <= 0 {
		opts.StatementTimeout = defaultStatementTimeout
	}
	if opts.LookAgain <= 0 {
		opts.LookAgain = defaultLookAgain
	}
	if opts.Application == "" {
		opts.Application = "wal2vec/backfill"
	}
	return &Reader{opts: opts, row: newSelection(opts.Table)}
}

// Close closes the connection. The reader may be used again afterwards.
func (r *Reader) Close(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(ctx)
}

// Alive returns nil when the connection of that session still stands.
func (r *Reader) Alive(ctx context.Context, session uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil || r.conn.IsClosed() || r.session != session {
		return fault.New(fault.Unavailable, "", "connection %d to the source is gone", session)
	}
	_, err := r.run(ctx, "SELECT", nil)
	return err
}

func (r *Reader) drop(ctx context.Context) {
	if r.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = r.conn.Close(ctx) // nothing depends on a polite end
	r.conn = nil
}

// open connects if need be.
func (r *Reader) open(ctx context.Context) error {
	if r.conn != nil && !r.conn.IsClosed() {
		return r.again(ctx)
	}
	config, err := pgconn.ParseConfig(r.opts.ConnString)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "", "reading the source's connection string")
	}
	settings := pgsession.Settings{
		"application_name":  r.opts.Application,
		"statement_timeout": strconv.FormatInt(r.opts.StatementTimeout.Milliseconds(), 10),
		// Under READ COMMITTED a statement takes its lock on the table before its snapshot; any
		// higher level could show a table as empty that a TRUNCATE or rewrite has just filled.
		"default_transaction_isolation": "read committed",
		"default_transaction_read_only": "on",
		"row_security":                  "off", // an error instead of missing rows; see Reader.admit
		"constraint_exclusion":          "off", // no CHECK is evaluated to plan a read
	}
	conn, err := pgsession.Reader(ctx, config, settings)
	if err != nil {
		return r.unconnected(fault.Connecting(err))
	}
	r.conn, r.role = conn, config.User
	r.session++
	encoding := conn.ParameterStatus("server_encoding")
	r.row.Convert = encoding != "UTF8" && encoding != "SQL_ASCII"
	err = r.restrict(ctx)
	if err == nil {
		err = r.inDatabase(ctx)
	}
	if err == nil {
		err = r.identify(ctx)
	}
	if err == nil {
		err = r.guard(ctx)
	}
	if err == nil {
		err = r.examine(ctx)
	}
	if err == nil {
		err = r.lookAtTypes(ctx)
	}
	if err == nil {
		err = r.lookForPolicies(ctx)
	}
	if err != nil {
		r.drop(ctx)
	}
	return err
}

// unconnected names the setting where the server does not let the role in that reads alone: no
// other session would tell.
func (r *Reader) unconnected(err error) error {
	if state := fault.SQLSTATE(err); r.opts.Database != "" && (strings.HasPrefix(state, "28") || state == "3D000" || state == "42501") {
		return fault.Wrap(err, fault.KindOf(err), "check user, password and database in source.read_dsn, and the server's pg_hba.conf",
			"connecting to the source as the role that reads")
	}
	return fmt.Errorf("connecting to the source: %w", err)
}

// again looks after a while whether the session that is open may still read the table.
func (r *Reader) again(ctx context.Context) error {
	if time.Since(r.looked) < r.opts.LookAgain {
		return nil
	}
	err := r.guard(ctx)
	if err != nil {
		r.drop(ctx)
	}
	return err
}

// restrict keeps the owner of the table from putting a view into its place, for as long as it takes
// to notice: its functions would run in this session, with the rights of the stream's role.
// row_security does the same for policies.
func (r *Reader) restrict(ctx context.Context) error {
	if _, err := r.run(ctx, sql.Query("source_restrict"), nil); err != nil {
		return fmt.Errorf("preparing a session that reads the source: %w", err)
	}
	return nil
}

// inDatabase makes sure that the rows are those of the database that is streamed: another one of
// the server may have a table of that name, with the same object id where it is a copy.
func (r *Reader) inDatabase(ctx context.Context) error {
	if r.opts.Database == "" {
		return nil
	}
	name, err := r.one(ctx, "SELECT pg_catalog.current_database()")
	switch {
	case err != nil:
		return fmt.Errorf("identifying the database that is read: %w", err)
	case name != r.opts.Database:
		return fault.New(fault.Usage, "name one database in both", "source.read_dsn leads to database %s, source.dsn to %s",
			quote(name), quote(r.opts.Database))
	default:
		return nil
	}
}

// identify makes sure that the rows are those of the log that is streamed: after a failover an
// address may lead to either server.
func (r *Reader) identify(ctx context.Context) error {
	if r.opts.SystemID == "" && r.opts.Timeline == 0 {
		return nil
	}
	var id, timeline string
	var standby bool
	_, err := r.run(ctx, sql.Query("source_identity"), func(row rawRow) error {
		id, timeline, standby = string(row[0]), string(row[1]), string(row[2]) == "t"
		return nil
	})
	if err != nil {
		return fmt.Errorf("identifying the source server: %w", err)
	}
	if standby {
		return fault.New(fault.Unavailable, "connect to the primary", "the source server is a standby")
	}
	if want := strconv.FormatInt(int64(r.opts.Timeline), 10); id != r.opts.SystemID || timeline != want {
		return fault.New(fault.Unavailable, "wal2vec status",
			"the source is system %s on timeline %s, the pipeline follows system %s on timeline %s", id, timeline, r.opts.SystemID, want)
	}
	return nil
}

// rawRow is a row in the server's text output; nil is NULL. It is valid until the next row.
type rawRow [][]byte

// run executes one statement in a transaction of its own, on the open connection; each may be nil.
// Parameters are texts. An error that may have broken the connection drops it.
func (r *Reader) run(ctx context.Context, statement string, each func(rawRow) error, params ...[]byte) (int, error) {
	result := r.conn.ExecParams(ctx, statement, params, nil, nil, nil)
	n := 0
	var failed error
	for result.NextRow() {
		n++
		if each != nil && failed == nil {
			failed = each(result.Values())
		}
	}
	if _, err := result.Close(); err != nil {
		return n, r.broken(ctx, err)
	}
	return n, failed
}

// checkOID returns a fault of kind Unavailable where another table than the followed one has the
// name.
func (r *Reader) checkOID(oid string) error {
	followed := strconv.FormatUint(uint64(r.opts.Followed), 10)
	if oid == followed {
		return nil
	}
	return fault.New(fault.Unavailable, "wal2vec stream, which follows it",
		"table %s was replaced by another of the same name (OID %s, was %s)", r.name(), oid, followed)
}

// replaced is what the server's refusal to read the table means: a table that has just taken the
// followed one's place may lack rights and columns, which is no fault of the settings.
func (r *Reader) replaced(ctx context.Context, err error) error {
	if _, said := errors.AsType[*pgconn.PgError](err); !said || r.conn == nil {
		return err
	}
	oid, lookErr := r.one(ctx, sql.Query("source_table_oid"), []byte(r.opts.Table.Schema), []byte(r.opts.Table.Name))
	if lookErr != nil {
		return err
	}
	if replaced := r.checkOID(oid); replaced != nil {
		return replaced
	}
	return err
}

// broken drops the connection after an error that may have broken it.
func (r *Reader) broken(ctx context.Context, err error) error {
	if _, said := errors.AsType[*pgconn.PgError](err); !said || r.conn.IsClosed() {
		r.drop(ctx)
	}
	return err
}

// one runs a statement that returns a single value.
func (r *Reader) one(ctx context.Context, statement string, params ...[]byte) (string, error) {
	var value string
	n, err := r.run(ctx, statement, func(row rawRow) error {
		value = string(row[0])
		return nil
	}, params...)
	if err == nil && n != 1 {
		err = fmt.Errorf("got %d rows, want one", n)
	}
	return value, err
}
