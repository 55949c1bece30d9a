package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

const plugin = "pgoutput"

// CheckSlotName refuses a name that Postgres would not take for a slot; replication commands have
// no parameters, so this is also what keeps them from being anything else.
func CheckSlotName(name string) error {
	const longest = 63
	valid := name != "" && len(name) <= longest
	for _, r := range name {
		valid = valid && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	}
	if !valid {
		return fault.New(fault.Usage, "use up to 63 lower-case letters, digits and underscores", "%q is not a valid slot name", name)
	}
	return nil
}

// SlotOptions say how to create a slot.
type SlotOptions struct {
	// ConnString leads to the primary itself, not through a pooler.
	ConnString string
	Name       string
	// LockTimeout bounds the wait for each transaction that was open when the creation began; one
	// minute when zero.
	LockTimeout time.Duration
	Logger      zerolog.Logger
}

// Slot is a slot that was created.
type Slot struct {
	Name string
	// ConsistentPoint is where the slot begins: what committed before it is in no stream of the
	// slot, and visible to every snapshot taken since CreateSlot returned.
	ConsistentPoint change.LSN
	// Failover is true when a standby with sync_replication_slots keeps a copy of the slot.
	Failover bool
}

const (
	defaultLockTimeout = time.Minute
	blockerInterval    = 2 * time.Second
	cleanupTimeout     = 10 * time.Second
)

// CreateSlot creates a logical slot with pgoutput and waits until every transaction that the slot's
// snapshot sees is visible to new snapshots (R5). It logs who it waits for. After an error there is
// no new slot.
func CreateSlot(ctx context.Context, opts SlotOptions) (Slot, error) {
	if err := CheckSlotName(opts.Name); err != nil {
		return Slot{}, err
	}
	if opts.LockTimeout <= 0 {
		opts.LockTimeout = defaultLockTimeout
	}
	conn, err := connect(ctx, opts.ConnString, applicationName(opts.Name))
	if err != nil {
		return Slot{}, err
	}
	defer closeQuietly(ctx, conn)
	settings := map[string]string{"lock_timeout": strconv.FormatInt(opts.LockTimeout.Milliseconds(), 10), "statement_timeout": "0"}
	walsender, err := connectReplication(ctx, opts.ConnString, applicationName(opts.Name), settings)
	if err != nil {
		return Slot{}, err
	}
	defer closeQuietly(ctx, walsender)
	c := creation{opts: opts, conn: conn, walsender: walsender}
	slot, err := c.run(ctx)
	if err != nil && c.mayExist {
		c.undo(ctx)
	}
	return slot, err
}

func closeQuietly(ctx context.Context, conn interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing depends on a polite end
}

type creation struct {
	opts      SlotOptions
	conn      *pgx.Conn
	walsender *pgconn.PgConn
	// mayExist is true from the first command that can have made the slot; false again when the
	// server said that it is another's.
	mayExist bool
}

func (c *creation) run(ctx context.Context) (Slot, error) {
	created, failover, err := c.create(ctx)
	if err != nil {
		return Slot{}, c.explain(err)
	}
	point, err := change.ParseLSN(created.ConsistentPoint)
	if err != nil {
		return Slot{}, fmt.Errorf("creating slot %q: %w", c.opts.Name, err)
	}
	if err := c.settle(ctx, created.SnapshotName); err != nil {
		return Slot{}, fmt.Errorf("creating slot %q: %w", c.opts.Name, err)
	}
	return Slot{Name: c.opts.Name, ConsistentPoint: point, Failover: failover}, nil
}

// create runs the command while another goroutine, which ends with it, reports whom it waits for.
func (c *creation) create(ctx context.Context) (result pglogrepl.CreateReplicationSlotResult, failover bool, err error) {
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.reportBlockers(watching)
	}()
	defer func() {
		stop()
		<-done
	}()
	major, err := majorVersion(c.walsender)
	if err != nil {
		return result, false, err
	}
	quoted := pgname.Catalogue(c.opts.Name)
	if major >= 17 {
		command := fmt.Sprintf("CREATE_REPLICATION_SLOT %s LOGICAL %s (SNAPSHOT 'export', FAILOVER true)", quoted, plugin)
		c.mayExist = true
		result, err = pglogrepl.ParseCreateReplicationSlot(c.walsender.Exec(ctx, command))
		if err == nil || !failoverRefused(err) {
			return result, err == nil, err
		}
		c.opts.Logger.Warn().Err(err).Str("slot", c.opts.Name).Msg("the server makes no failover slot: creating an ordinary one")
	}
	c.mayExist = true
	options := pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: "EXPORT_SNAPSHOT"}
	result, err = pglogrepl.CreateReplicationSlot(ctx, c.walsender, quoted, plugin, options)
	return result, false, err
}

// failoverRefused is true for errors that the same command without FAILOVER might not meet.
func failoverRefused(err error) bool {
	switch fault.SQLSTATE(err) {
	case "0A000", "22023", "42601", "55000": // not supported, invalid parameter, syntax, wrong state (a standby)
		return true
	default:
		return false
	}
}

func (c *creation) explain(err error) error {
	name := c.opts.Name
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Errorf("creating slot %q: %w", name, err)
	}
	switch pg.Code {
	case "42710":
		c.mayExist = false
		try := "choose another name: source.slot; or, if no other pipeline or program reads it: " +
			"SELECT pg_catalog.pg_drop_replication_slot(" + pgname.Literal(name) + ");"
		return fault.Wrap(err, fault.Usage, try, "creating slot %q", name)
	case "42501":
		return &AttributeError{Role: c.conn.Config().User, err: fault.Wrap(err, fault.Usage, asStreamer, "creating slot %q", name)}
	case "53400":
		return fault.Wrap(err, fault.Usage, "raise max_replication_slots and restart the server, or drop a slot", "creating slot %q", name)
	case "55000":
		return fault.Wrap(err, fault.Usage, "ALTER SYSTEM SET wal_level = 'logical'; then restart the server", "creating slot %q", name)
	case "55P03":
		return fault.Wrap(err, fault.Unavailable, "end the transactions that were open before, and try again",
			"creating slot %q: an open transaction kept it waiting for %s", name, c.opts.LockTimeout)
	default:
		return fmt.Errorf("creating slot %q: %w", name, err)
	}
}

// reportBlockers logs the transactions that the creation waits for until ctx ends. Errors are of no
// account here.
func (c *creation) reportBlockers(ctx context.Context) {
	ticker := time.NewTicker(blockerInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		rows, err := c.conn.Query(ctx, sql.Query("source_blockers"), c.walsender.PID())
		if err != nil {
			continue
		}
		var pid int32
		var user, application, state string
		var seconds float64
		_, _ = pgx.ForEachRow(rows, []any{&pid, &user, &application, &state, &seconds}, func() error {
			c.opts.Logger.Warn().Str("slot", c.opts.Name).Int32("pid", pid).Str("user", user).Str("application", application).Str("state", state).
				Dur("open", time.Duration(seconds*float64(time.Second))).Msg("creating the slot waits for an open transaction")
			return nil
		})
	}
}

// settle waits until new snapshots see all that the exported snapshot sees. Slot creation takes
// commits from the log, and a commit may be in the log while its transaction is still invisible;
// such a row would be in no stream and in no chunk.
func (c *creation) settle(ctx context.Context, exported string) error {
	if c.conn.IsClosed() { // the reporter's last query was cut off with its context
		conn, err := connect(ctx, c.opts.ConnString, applicationName(c.opts.Name))
		if err != nil {
			return err
		}
		defer closeQuietly(ctx, conn)
		c.conn = conn
	}
	ofSlot, err := importSnapshot(ctx, c.conn, exported)
	if err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		now, err := currentSnapshot(ctx, c.conn)
		return err == nil && now.dominates(ofSlot), err
	})
}

// undo removes what the failed creation may have left. The walsender may still be creating the slot
// after the connection is gone, so it is ended first.
func (c *creation) undo(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	conn, err := connect(ctx, c.opts.ConnString, applicationName(c.opts.Name))
	if err == nil {
		defer closeQuietly(ctx, conn)
		_, err = conn.Exec(ctx, sql.Query("source_terminate"), c.walsender.PID(), applicationName(c.opts.Name))
	}
	if err == nil {
		err = poll(ctx, func() (bool, error) {
			err := DropSlot(ctx, conn, c.opts.Name)
			if fault.KindOf(err) == fault.Busy { // the walsender has not ended yet
				return false, nil
			}
			return err == nil, err
		})
	}
	if err != nil {
		c.opts.Logger.Warn().Err(err).Str("slot", c.opts.Name).Msg("a slot may be left behind: drop it")
	}
}

// DropSlot drops the slot if it exists; a slot in use is a fault of kind Busy.
func DropSlot(ctx context.Context, db Querier, name string) error {
	if _, err := db.Exec(ctx, sql.Query("source_slot_drop"), name); err != nil {
		return slotError(ctx, db, err, name, "dropping")
	}
	return nil
}

// refusal is the server's refusal to use a slot.
type refusal struct {
	err   error
	slot  string
	doing string // a gerund
	// whose tells of the process that reads the slot; may be empty.
	whose string
}

// slotError turns the server's refusal to use a slot into a fault; doing is a gerund. db is asked
// who reads the slot.
func slotError(ctx context.Context, db Querier, err error, name, doing string) error {
	r := refusal{err: err, slot: name, doing: doing}
	if fault.SQLSTATE(err) == "55006" {
		if state, unread := ReadSlot(ctx, db, name); unread == nil && state.ActivePID != 0 {
			r.whose = Whose(ctx, db, state.ActivePID)
		}
	}
	return r.fault()
}

func (r refusal) fault() error {
	err, name, doing := r.err, r.slot, r.doing
	switch fault.SQLSTATE(err) {
	case "55006": // the message names the process
		return fault.Wrap(err, fault.Busy, "stop the process that reads the slot, or wait for it",
			"%s slot %q, which another process reads%s", doing, name, r.whose)
	case "42501":
		return fault.Wrap(err, fault.Usage, "give the role REPLICATION", "%s slot %q", doing, name)
	default:
		return fmt.Errorf("%s slot %q: %w", doing, name, err)
	}
}
