package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sink"
	queries "github.com/wal2vec/wal2vec/sql"
)

// sinkFacts is what is known of the sink. pool is nil where it cannot be asked.
type sinkFacts struct {
	pool  *pgxpool.Pool
	store *sink.Sink
	ahead time.Duration // its clock, of this machine's
	role  string        // this session's; empty where it is not known
	kind  kind          // what the role is for
	// kept says that a lock of another session kept the pipeline's tables from being read.
	kept bool
	// standing says it of a role without a ledger, too; nil where it could not be asked.
	standing *sink.Standing
	// encoding is its database's; empty where it is not known.
	encoding pgsession.Encoding
}

// age is how long ago something happened, by the sink's clock.
func (e *examination) age(at time.Time) time.Duration { return e.now().Add(e.sink.ahead).Sub(at) }

func (e *examination) examineSink(ctx context.Context) {
	err := e.connectSink(ctx)
	if _, pooler := errors.AsType[*pgsession.PoolerError](err); pooler {
		e.fail("sink.direct", inSettings("sink.dsn: the address of the server itself; "+
			"for a pooler that keeps sessions, add options=-c%20wal2vec.pooler%3Dsession"), "%s", config.Printable(err))
		err = errors.New("a pooler answers")
	}
	if !e.judge("sink.reach", err, Sink, "the sink answers") {
		if e.sink.pool != nil {
			e.sink.pool.Close()
			e.sink.pool = nil
		}
		return
	}
	c := e.opts.Config
	e.sink.store = sink.New(sink.Options{
		Pool: e.sink.pool, Schema: c.Sink.Schema, Pipeline: c.Pipeline, Owner: c.Sink.Owner, View: c.Sink.View.String(), KeepView: c.ViewIsDerived(),
	})
	e.examineSinkSession(ctx)
	if !e.examineSinkServer(ctx) {
		return
	}
	e.findKind(ctx)
	if !e.examineState(ctx) {
		return
	}
	e.examineTables(ctx)
	e.examineView(ctx)
	e.examineIndexes(ctx)
}

func (e *examination) examineSinkSession(ctx context.Context) {
	conn, err := e.sink.pool.Acquire(ctx)
	if !e.could(err, "sink.direct", "sink.tls", "sink.clock") {
		return
	}
	defer conn.Release()
	s, err := e.inspectSession(ctx, conn.Conn(), nil)
	if !e.could(err, "sink.direct", "sink.tls", "sink.clock") {
		return
	}
	e.sink.ahead = s.ahead
	if s.pooled {
		e.warn("sink.direct", inSettings("sink.dsn: the address of the server itself"),
			"a pooler stands before the sink; the connection string says that it keeps sessions")
	} else {
		e.ok("sink.direct", "no pooler in between")
	}
	e.sink.encoding = pgsession.EncodingOf(conn.Conn())
	e.judgeTLS("sink", s)
	e.judgeClock("sink", s)
}

// judgeSinkEncoding holds the sink's encoding against the source's, once the table's key is known.
func (e *examination) judgeSinkEncoding() {
	const check = "sink.encoding"
	source, encoding := pgsession.EncodingOf(e.source.conn), e.sink.encoding
	if encoding == "" {
		return
	}
	var err error
	if table := e.table; table != nil && slices.ContainsFunc(table.Key, func(c change.Column) bool { return c.Type.Text() }) {
		err = pgsession.CheckKeys(source, encoding)
	}
	switch {
	case err != nil:
		e.judge(check, err, Sink, "")
	case encoding != pgsession.UTF8 && encoding != pgsession.None && encoding != source:
		e.warn(check, onServer("take a sink database with ENCODING 'UTF8'"),
			"the sink's encoding is %s, the source's %s: the sink does not take every name of a column or of an enum's value", encoding, source)
	default:
		e.ok(check, "%s takes every key and name of the source", encoding)
	}
}

// examineSinkServer reports whether there is anything to look at behind the server itself.
func (e *examination) examineSinkServer(ctx context.Context) bool {
	var version int
	var readOnly, fsync, fullPages bool
	var installed, available string
	err := e.sink.pool.QueryRow(ctx, queries.Query("doctor_sink")).Scan(&version, &readOnly, &fsync, &fullPages, &installed, &available)
	if !e.could(err, "sink.version", "sink.writable", "sink.durable", "sink.pgvector") {
		return false
	}
	e.judgeSinkVersion(version)
	if readOnly {
		e.fail("sink.writable", inSettings("sink.dsn: the primary"), "the sink is a standby, or its sessions are read-only (default_transaction_read_only)")
	} else {
		e.ok("sink.writable", "it takes writes")
	}
	switch {
	case !fsync:
		e.warn("sink.durable", inSink("ALTER SYSTEM SET fsync = on; SELECT pg_catalog.pg_reload_conf();"),
			"fsync is off: after a crash of the machine the sink may be behind what the slot has confirmed")
	case !fullPages:
		e.warn("sink.durable", inSink("ALTER SYSTEM SET full_page_writes = on; SELECT pg_catalog.pg_reload_conf();"),
			"full_page_writes is off: a crash of the machine may leave torn pages")
	default:
		e.ok("sink.durable", "fsync and full_page_writes are on")
	}
	e.judgeExtension(e.sink.store.CheckExtension(ctx), installed, available)
	if installed == "" {
		return true
	}
	switch err := e.sink.store.CheckExtensionSchema(ctx); {
	case fault.KindOf(err) == fault.Usage:
		e.warn("sink.pgvector", adviceOf(fault.Try(err), Sink), "%s", config.Printable(err))
	default:
		e.could(err, "sink.pgvector")
	}
	return true
}

func (e *examination) judgeExtension(err error, installed, available string) {
	switch {
	case installed != "" && err == nil && sink.CheckLibrary(cmp.Or(available, installed)) != nil:
		old := sink.CheckLibrary(cmp.Or(available, installed))
		e.warn("sink.pgvector", adviceOf(fault.Try(old), Sink), "%s", config.Printable(old))
	case installed != "":
		e.judge("sink.pgvector", err, Sink, "pgvector %s", installed)
	case available != "":
		e.fail("sink.pgvector", inSink("CREATE EXTENSION vector SCHEMA public;"), "pgvector is not installed in the database; the server has %s", available)
	default:
		e.fail("sink.pgvector", onServer("install pgvector 0.8 or later on the sink's server"), "the sink's server has no pgvector")
	}
}

func (e *examination) judgeSinkVersion(version int) {
	major := version / 10000
	if problem := sink.CheckServer(version); problem != nil || major <= newest {
		e.judge("sink.version", problem, Sink, "PostgreSQL %d.%d", major, version%10000)
	} else {
		e.warn("sink.version", nothing, "PostgreSQL %d is newer than any that wal2vec was tried with (%d)", major, newest)
	}
}

// lockNotAvailable is the SQLSTATE of a lock that was waited for too long.
const lockNotAvailable = "55P03"

// examineState reads the pipeline, and reports whether there is one.
func (e *examination) examineState(ctx context.Context) bool {
	schema := e.opts.Config.Sink.Schema
	exists, err := e.sink.store.Trusted(ctx)
	if err != nil {
		e.sink.kept = fault.SQLSTATE(err) == lockNotAvailable
		e.judge("sink.owner", err, Settings, "")
		return false
	}
	if exists {
		e.judgeViewOwner(e.sink.store.CheckView(ctx))
	}
	err = e.sink.store.CheckSchema(ctx)
	if fault.SQLSTATE(err) == "42501" {
		e.judge("sink.rights", err, Sink, "")
		return false
	}
	if !e.judge("sink.schema", err, Sink, "schema %s is of this version", schema) {
		e.sink.kept = fault.SQLSTATE(err) == lockNotAvailable
		return false
	}
	state, err := e.sink.store.State(ctx)
	switch {
	case fault.SQLSTATE(err) == "42501":
		e.judge("sink.rights", err, Sink, "")
		return false
	case err != nil:
		e.sink.kept = fault.SQLSTATE(err) == lockNotAvailable
		e.judge("pipeline.registered", err, Sink, "")
		return false
	case state.Started():
		e.ok("pipeline.registered", "pipeline %s, watermark %s", e.opts.Config.Pipeline, state.Watermark)
	default:
		e.fail("pipeline.registered", setUp, "pipeline %s is set up in part", e.opts.Config.Pipeline)
	}
	e.state = &state
	return true
}

// judgeViewOwner tells of a view, or a schema of one, whose owner could put another view in its
// place. Tables are all right by then.
func (e *examination) judgeViewOwner(err error) {
	const check = "sink.owner"
	if fault.KindOf(err) == fault.Usage {
		e.warn(check, adviceOf(fault.Try(err), Sink), "%s", config.Printable(err))
		return
	}
	e.judge(check, err, Sink, "schema %s, its tables and the view belong to roles that are trusted", e.opts.Config.Sink.Schema)
}

// tableFindings are what is wrong with wal2vec's tables.
type tableFindings struct {
	missing, unlogged, closed, excess []string
	// others are the tables that are not the pipeline's and on which the role has rights that it
	// was not given, elsewhere what it may do there.
	others []elsewhere
	// owner is who owns the tables, where that is another role than this one.
	owner, role string
	bypass      sink.Bypass // of that role; unknown where it is the owner
	granted     granted
}

// comma joins names of rights or columns for a query.
func comma(names []string) string { return strings.Join(names, ",") }

func (e *examination) readTables(ctx context.Context) (f tableFindings, err error) {
	var tables, rights, inserts, updates []string
	for _, n := range e.sink.store.StreamNeeds(*e.state) {
		if e.searches() {
			n = sink.Needed{Table: n.Table, Rights: []string{"SELECT"}}
		}
		tables, rights = append(tables, n.Table), append(rights, comma(n.Rights))
		inserts, updates = append(inserts, comma(n.Insert)), append(updates, comma(n.Update))
	}
	if err := e.readOthers(ctx, &f, tables); err != nil {
		return f, err
	}
	if f.granted, err = e.readGranted(ctx); err != nil {
		return f, err
	}
	rows, err := e.sink.pool.Query(ctx, queries.Query("doctor_sink_tables"), e.opts.Config.Sink.Schema, tables, rights, inserts, updates)
	if err != nil {
		return f, err
	}
	var name, owner string
	var exists, logged, open, ours bool
	var more []string
	_, err = pgx.ForEachRow(rows, []any{&name, &exists, &logged, &open, &more, &ours, &owner, &f.role}, func() error {
		if !exists {
			f.missing = append(f.missing, name)
		}
		if !logged {
			f.unlogged = append(f.unlogged, name)
		}
		if !open {
			f.closed = append(f.closed, name)
		}
		if !ours {
			f.owner = owner
		}
		if !ours && len(more) > 0 {
			f.excess = append(f.excess, strings.Join(more, ", ")+" on "+name)
		}
		return nil
	})
	return f, err
}

// readOthers looks at what is in wal2vec's schema and is not the pipeline's.
func (e *examination) readOthers(ctx context.Context, f *tableFindings, own []string) error {
	rows, err := e.sink.pool.Query(ctx, queries.Query("doctor_sink_others"), e.opts.Config.Sink.Schema, own)
	if err != nil {
		return err
	}
	f.others, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x elsewhere, err error) {
		return x, row.Scan(&x.table, &x.privileges, &x.columns, &x.granted, &x.grantee, &x.grantor)
	})
	return err
}

// elsewhere is what this role may do with a table that is not its pipeline's, by a grant to it, to
// a role that it is a member of, or to PUBLIC (empty).
type elsewhere struct {
	table, grantee string
	granted        bool // false where no grant tells it
	taken
}

func (e *examination) judgeElsewhere(x elsewhere, role string) {
	const server = "find out which role it is a member of that may read or write all tables, and take that from it: pg_read_all_data, pg_write_all_data"
	fix, whose := onServer(server), ""
	if x.granted {
		to := "PUBLIC"
		switch {
		case x.grantee == role:
			to = pgname.Identifier(x.grantee)
		case x.grantee != "":
			to, whose = pgname.Identifier(x.grantee), ", as a member of "+x.grantee+","
		default:
			whose = ", as everybody,"
		}
		fix = inSink(pgname.Script(x.from("TABLE", pgname.Qualified(e.opts.Config.Sink.Schema, x.table), to)...))
		if whose != "" {
			fix.text += " -- other roles that have it by " + to + " lose it, too: give it to those that need it"
		}
	}
	e.warn("sink.least", fix, "role %s%s has rights on what is not its pipeline's, and was not given that pipeline: %s on %s",
		role, whose, strings.Join(slices.Compact(slices.Clone(x.privileges)), ", "), x.table)
}

// examineTables looks at wal2vec's tables.
func (e *examination) examineTables(ctx context.Context) {
	f, err := e.readTables(ctx)
	if !e.could(err, "sink.tables", "sink.logged", "sink.rights", "sink.least") {
		return
	}
	schema := e.opts.Config.Sink.Schema
	if len(f.missing) > 0 {
		e.fail("sink.tables", onServer("restore them from a backup, or set the pipeline up again: wal2vec teardown, then init and backfill"),
			"missing in schema %s: %s", schema, strings.Join(f.missing, ", "))
	} else {
		e.ok("sink.tables", "ledger and %d vector tables", len(e.state.Generations))
	}
	for _, table := range f.unlogged {
		e.fail("sink.logged", inSink("ALTER TABLE "+pgname.Qualified(schema, table)+" SET LOGGED;"), "%s.%s is unlogged: a crash empties it", schema, table)
	}
	if len(f.unlogged) == 0 {
		e.ok("sink.logged", "all tables are logged")
	}
	grant, does := "grant-stream", "write"
	if e.searches() || e.sink.kind == strangerKind && !e.source.replicates {
		grant, does = "grant-search", "read"
	}
	if len(f.closed) > 0 {
		e.fail("sink.rights", inShell("wal2vec init "+pgname.Flag(grant, f.role)+"  # as role "+pgname.Shell(f.owner)),
			"role %s may not %s %s", f.role, does, strings.Join(f.closed, ", "))
	} else {
		e.ok("sink.rights", "role %s may %s all tables", f.role, does)
	}
	if f.owner != "" {
		bypass, err := e.sink.store.Bypass(ctx, f.role)
		if !e.could(err, "sink.least") {
			return
		}
		f.bypass = bypass
	}
	e.judgeLeast(f, grant, does)
}

// judgeLeast tells what the role may do beyond what it needs.
func (e *examination) judgeLeast(f tableFindings, grant, does string) {
	for _, x := range f.others {
		e.judgeElsewhere(x, f.role)
	}
	bypasses := f.bypass.Role != "" && f.bypass.Others > 0
	if bypasses {
		e.warn("sink.least", inSink(f.bypass.Fix(f.role)),
			"role %s has BYPASSRLS of role %s: no row policy keeps it from the %d other pipelines of schema %s",
			f.role, f.bypass.Role, f.bypass.Others, e.opts.Config.Sink.Schema)
	}
	closed, also := e.judgeGranted(f.granted)
	switch {
	case len(f.excess) > 0:
		fix := "wal2vec init " + pgname.Flag("revoke", f.role) + " " + pgname.Flag(grant, f.role) + "  # as role " + pgname.Shell(f.owner)
		e.warn("sink.least", inShell(fix), "role %s may do more than %s: %s", f.role, needed[does], strings.Join(f.excess, "; "))
	case len(f.others) > 0, bypasses, !closed:
	case f.owner == "":
		e.ok("sink.least", "role %s has the rights of the tables' owner, which init needs and a stream does not%s", f.role, also)
	default:
		e.ok("sink.least", "role %s has no more rights than %s; %s, who owns the tables, builds indexes and generations%s",
			f.role, needed[does], f.owner, also)
	}
}

// needed is who needs to do what with the tables.
var needed = map[string]string{"write": "stream and backfill need", "read": "search and status need"}

// examineView looks at what the view shows.
func (e *examination) examineView(ctx context.Context) {
	schema, name := e.state.ViewSchema, e.state.ViewName
	if e.state.Generation == nil || name == "" {
		e.fail("sink.view", setUp, "no generation is active, or there is no view")
		return
	}
	rows, err := e.sink.pool.Query(ctx, queries.Query("doctor_view"), schema, name)
	if !e.could(err, "sink.view") {
		return
	}
	shown, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var in, table string
		err := row.Scan(&in, &table)
		return in + "." + table, err
	})
	if !e.could(err, "sink.view") {
		return
	}
	want := e.opts.Config.Sink.Schema + "." + e.state.Generation.Table
	switch {
	case len(shown) == 0:
		e.fail("sink.view", setUp, "view %s.%s does not exist", schema, name)
	case len(shown) != 1 || shown[0] != want:
		e.fail("sink.view", inSink(sink.DropViewSQL(schema, name)),
			"view %s.%s shows %s, not the active generation's %s", schema, name, strings.Join(shown, ", "), want)
	default:
		e.ok("sink.view", "%s.%s shows generation %d", schema, name, e.state.Generation.ID)
	}
}

// examineIndexes looks at the index of each generation that is searched, or may be again.
func (e *examination) examineIndexes(ctx context.Context) {
	bad := false
	var texts []string
	for _, g := range e.state.Generations {
		index, err := e.sink.store.Index(ctx, g)
		if !e.could(err, "sink.index") {
			return
		}
		due, err := e.sink.store.IndexDue(ctx, g)
		if !e.could(err, "sink.index") {
			return
		}
		texts = append(texts, fmt.Sprintf("generation %d: %s", g.ID, index.State))
		if due && g.State != sink.Building {
			owner, ours, err := e.sink.store.IndexOwner(ctx, g)
			if !e.could(err, "sink.index") {
				return
			}
			bad = true
			fix := setUp
			if !ours {
				fix = inShell("wal2vec init  # as role " + pgname.Shell(owner))
			}
			e.warn("sink.index", fix, "the index of generation %d is %s", g.ID, index.State)
		}
	}
	if !bad {
		e.ok("sink.index", "%s", strings.Join(texts, ", "))
	}
}
