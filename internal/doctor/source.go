package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication"
	queries "github.com/wal2vec/wal2vec/sql"
)

// sourceFacts is what is known of the source's server. conn is nil where it cannot be asked.
type sourceFacts struct {
	conn *pgx.Conn
	info replication.ServerInfo

	senders, sendersBusy int
	idleSlots            time.Duration
	standbyNames         string
	synchronous          int // standbys that commits wait for
	physicalSlots        []string
	streamedSlots        []string // those of them that something streams from
	repacks, repackSlots int      // slots of REPACK (CONCURRENTLY), and how many there may be
	synchronized         string   // synchronized_standby_slots
	walRate              float64  // bytes a second since the server's statistics began
	superuser, monitor   bool
	access               error             // of a replication connection
	wanted               map[string]string // settings that its connection string and package pgsession ask for
	replicates           bool              // it opens
	provider             string
}

// newest is the newest version of PostgreSQL that was tried.
const newest = 19

func (e *examination) examineSource(ctx context.Context) {
	err := e.connectSource(ctx)
	if fault.SQLSTATE(err) == pooled {
		e.fail("source.direct", inSettings("source.dsn: the address of the server itself"),
			"a pooler answers, which does not take the settings of wal2vec's sessions: %s", config.Printable(err))
		e.skip("source.reach", "a pooler answers")
		return
	}
	if _, pooler := errors.AsType[*pgsession.PoolerError](err); pooler {
		e.fail("source.direct", inSettings("source.dsn: the address of the server itself; "+
			"for a pooler that keeps sessions, add options=-c%20wal2vec.pooler%3Dsession"), "%s", config.Printable(err))
		e.skip("source.reach", "a pooler answers")
		return
	}
	if !e.judge("source.reach", err, Source, "%s", e.address()) {
		e.closeSource(ctx)
		return
	}
	s, err := e.inspectSession(ctx, e.source.conn, e.wantedSettings())
	if e.could(err, "source.direct", "source.session", "source.tls", "source.clock") {
		e.judgeSourceSession(s)
	}
	err = e.readSource(ctx)
	if !e.could(err, "source.version", "source.primary") {
		e.closeSource(ctx)
		return
	}
	e.judgeServer()
	e.judgeSettings()
	e.judgeEncoding()
	e.examineOpen(ctx)
	e.examineOtherSlots(ctx)
	e.tryReplication(ctx)
}

func (e *examination) judgeEncoding() {
	const check, fix = "source.encoding", "see source.encoding in docs/operations.md; a database with ENCODING 'UTF8' has no such texts"
	switch encoding := pgsession.EncodingOf(e.source.conn); {
	case encoding == pgsession.None:
		e.warn(check, onServer(fix), "the source's encoding is %s: a row whose text has bytes that are not UTF-8 becomes a dead letter", encoding)
	case !encoding.Whole():
		e.warn(check, onServer(fix), "the source's encoding is %s: a row whose text has no form in UTF-8 becomes a dead letter", encoding)
	default:
		e.ok(check, "%s: every text has a form in UTF-8", encoding)
	}
}

// wantedSettings are those that a session of the source has, but for what the doctor's own bounds.
func (e *examination) wantedSettings() map[string]string {
	wanted := maps.Clone(e.source.wanted)
	delete(wanted, "statement_timeout")
	delete(wanted, "lock_timeout")
	if pgsession.EncodingOf(e.source.conn) == pgsession.None {
		wanted["client_encoding"] = string(pgsession.None) // see package pgsession
	}
	return wanted
}

func (e *examination) address() string {
	if e.source.conn == nil {
		return ""
	}
	c := e.source.conn.Config()
	return fmt.Sprintf("database %s on %s:%d as %s", c.Database, c.Host, c.Port, c.User)
}

func (e *examination) judgeSourceSession(s session) {
	if s.pooled {
		e.warn("source.direct", inSettings("source.dsn: the address of the server itself"),
			"a pooler stands before the server; source.dsn says that it keeps sessions")
	} else {
		e.ok("source.direct", "no pooler in between")
	}
	if len(s.lost) > 0 {
		e.fail("source.session", inSettings("source.dsn: the address of the server itself, or of a pooler that keeps sessions"),
			"settings of the session do not take effect: %v", s.lost)
	} else {
		e.ok("source.session", "the settings that texts are rendered under take effect")
	}
	e.judgeTLS("source", s)
	e.judgeClock("source", s)
}

func (e *examination) readSource(ctx context.Context) error {
	f := &e.source
	var err error
	if f.info, err = replication.Server(ctx, f.conn); err != nil {
		return err
	}
	var idle int64
	err = f.conn.QueryRow(ctx, queries.Query("doctor_source")).Scan(&f.senders, &f.sendersBusy, &idle, &f.standbyNames, &f.synchronous,
		&f.physicalSlots, &f.streamedSlots, &f.synchronized, &f.walRate, &f.superuser, &f.monitor, &f.provider, &f.repacks, &f.repackSlots)
	if err != nil {
		return fmt.Errorf("reading the source's settings: %w", err)
	}
	f.idleSlots = time.Duration(idle) * time.Millisecond
	return nil
}

// judgeServer asks package replication about one property at a time: of the others it is told what
// is well.
func (e *examination) judgeServer() {
	info := e.source.info
	good := replication.ServerInfo{Version: info.Version, EffectiveWALLevel: logical}
	major := info.Version / 10000
	if problem := good.Check(); problem != nil || major <= newest {
		e.judge("source.version", problem, Source, "PostgreSQL %d.%d", major, info.Version%10000)
	} else {
		e.warn("source.version", nothing, "PostgreSQL %d is newer than any that wal2vec was tried with (%d)", major, newest)
	}
	good.Version = newest * 10000
	good.InRecovery = info.InRecovery
	e.judge("source.primary", good.Check(), Source, "a primary, system %s, timeline %d", info.SystemID, info.Timeline)
	e.judgeWALLevel()
	what := "role " + info.User + " is no superuser"
	if e.source.superuser {
		what = "role " + info.User + " is a superuser"
	}
	switch provider := providers[e.source.provider]; {
	case provider == "":
		e.ok("source.provider", "no managed service that is known; %s", what)
	case e.source.superuser:
		e.ok("source.provider", "%s; %s", provider, what)
	default:
		e.ok("source.provider", "%s; %s: it cannot change the server's settings by SQL, nor grant REPLICATION but by the provider's role",
			provider, what)
	}
}

const logical = "logical"

// judgeWALLevel asks what is in effect: from PostgreSQL 19 on, wal_level = replica is enough as
// soon as there is a logical slot.
func (e *examination) judgeWALLevel() {
	const check = "source.wal_level"
	info := e.source.info
	info.InRecovery = false
	switch problem := info.Check(); {
	case fault.KindOf(problem) != 0:
		e.fail(check, e.setting("wal_level", logical, true), "wal_level is %s", info.WALLevel)
	case info.WALLevel == logical:
		e.ok(check, "wal_level is logical")
	case info.EffectiveWALLevel == logical:
		e.ok(check, "wal_level is %s, logical in effect: there is a logical slot", info.WALLevel)
	default:
		e.ok(check, "wal_level is %s: the server writes what is needed as soon as there is a logical slot", info.WALLevel)
	}
}

// judgeSettings looks at the source's settings.
func (e *examination) judgeSettings() {
	f := e.source
	if bound := f.info.MaxSlotWALKeepSize; bound == nil {
		e.warn("source.wal_limit", e.setting("max_slot_wal_keep_size", "20GB", false),
			"max_slot_wal_keep_size is -1: a stopped stream can fill the source's disk")
	} else {
		e.ok("source.wal_limit", "max_slot_wal_keep_size is %s", monitor.BytesText(*bound))
	}
	if f.idleSlots > 0 {
		e.warn("source.idle_slots", e.setting("idle_replication_slot_timeout", "0", false),
			"idle_replication_slot_timeout is %s: a stream that stands still for so long loses its slot", f.idleSlots)
	} else {
		e.ok("source.idle_slots", "slots are kept however long no process reads them")
	}
	const least, most = 5 * time.Second, time.Hour
	switch timeout := f.info.WALSenderTimeout; {
	case timeout == 0:
		e.warn("source.sender_timeout", e.setting("wal_sender_timeout", "60s", false),
			"wal_sender_timeout is 0: the slot of a stream whose machine died stays in use")
	case timeout < least, timeout > most:
		e.warn("source.sender_timeout", e.setting("wal_sender_timeout", "60s", false), "wal_sender_timeout is %s", timeout)
	default:
		e.ok("source.sender_timeout", "wal_sender_timeout is %s", timeout)
	}
	switch {
	case f.standbyNames == "":
		e.ok("source.synchronous", "commits wait for no standby")
	case f.synchronous > 0:
		e.ok("source.synchronous", "synchronous_standby_names is %q, %d standbys answer for it", f.standbyNames, f.synchronous)
	case !f.monitor:
		e.skip("source.synchronous", "this role does not see which standbys are there (role.monitor)")
	default:
		e.fail("source.synchronous", e.setting("synchronous_standby_names", "", false),
			"synchronous_standby_names is %q, and no such standby is there: commits wait, invisible, and so does the watermark", f.standbyNames)
	}
}

// examineOpen looks for transactions that have been open for long.
func (e *examination) examineOpen(ctx context.Context) {
	rows, err := e.source.conn.Query(ctx, queries.Query("doctor_transactions"), e.limits.OpenTransaction)
	if e.could(err, "source.transactions") {
		var pid int32
		var user, application, state string
		var age float64
		found := false
		_, err = pgx.ForEachRow(rows, []any{&pid, &user, &application, &state, &age}, func() error {
			found = true
			e.warn("source.transactions", inSource(fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%s);", strconv.Itoa(int(pid)))),
				"process %d of role %s (%s, %s) has had a transaction open for %s", pid, user, orUnnamed(application), state, seconds(age))
			return nil
		})
		if e.could(err, "source.transactions") && !found {
			e.ok("source.transactions", "none%s is older than %s", e.whose(), e.limits.OpenTransaction)
		}
	}
	rows, err = e.source.conn.Query(ctx, queries.Query("doctor_prepared"), e.limits.OpenTransaction)
	if !e.could(err, "source.prepared") {
		return
	}
	var gid, database string
	var age float64
	found := false
	_, err = pgx.ForEachRow(rows, []any{&gid, &database, &age}, func() error {
		found = true
		fix := "ROLLBACK PREPARED " + pgname.Literal(gid) + "; -- in database " + pgname.Identifier(database) + ", or COMMIT PREPARED"
		e.warn("source.prepared", inSource(fix),
			"prepared transaction %q of database %s has been open for %s", gid, database, seconds(age))
		return nil
	})
	if e.could(err, "source.prepared") && !found {
		e.ok("source.prepared", "none is older than %s", e.limits.OpenTransaction)
	}
}

// whose says that a role sees its own sessions alone.
func (e *examination) whose() string {
	if e.source.monitor {
		return ""
	}
	return " of this role's own"
}

// examineOtherSlots looks for slots that no process reads, and for room.
func (e *examination) examineOtherSlots(ctx context.Context) {
	if e.source.info.InRecovery {
		return // nothing is kept on a standby that could be told
	}
	rows, err := e.source.conn.Query(ctx, queries.Query("doctor_slots"), e.opts.Config.Source.Slot, e.limits.OtherSlot)
	if !e.could(err, "source.other_slots") {
		return
	}
	var name string
	var retained int64
	found := false
	_, err = pgx.ForEachRow(rows, []any{&name, &retained}, func() error {
		found = true
		drop := fmt.Sprintf("SELECT pg_catalog.pg_drop_replication_slot(%s); -- if no program needs it", pgname.Literal(name))
		e.warn("source.other_slots", inSource(drop),
			"no process reads slot %q, for which the server keeps %s of log", name, monitor.BytesText(retained))
		return nil
	})
	if e.could(err, "source.other_slots") && !found {
		e.ok("source.other_slots", "no slot without a reader holds back more than %s", monitor.BytesText(e.limits.OtherSlot))
	}
}

func orUnnamed(application string) string {
	if application == "" {
		return "no name"
	}
	return application
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}
