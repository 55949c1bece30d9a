package pgsession

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// application begins what pg_stat_activity shows of a session of ours.
const application = "wal2vec/"

// Application is what pg_stat_activity shows of a session that does something for a pipeline.
func Application(purpose, pipeline string) string { return application + purpose + " " + pipeline }

// Streaming is the application of a stream's sessions of the sink.
func Streaming(pipeline string) string { return Application("stream", pipeline) }

// of reports whether an application is one of a pipeline, whose name has no space in it.
func of(name, pipeline string) bool {
	return strings.HasPrefix(name, application) && strings.HasSuffix(name, " "+pipeline)
}

// Querier is what the statements here need of a pool or a connection.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Blocker is a session that keeps a lock for which another one waits.
type Blocker struct {
	// PID is zero for a prepared transaction, which no session keeps.
	PID               int32
	Role, Application string
	// State is empty where this role may not see it; Since is how long it has been so.
	State string
	Since time.Duration
	// Waited is how long the session that waits has done so.
	Waited time.Duration

	ours   bool // it is this session's role
	writes bool // its role may write the pipeline's ledger
	client bool // its server process waits for its client, in a transaction
	begun  *time.Time
}

// Waiting says whose waits are asked for: those of one session, or of all with an application;
// those that have lasted so long. An application's name is any client's to choose: a session that
// bears it counts where it has this session's role, or one that may write the pipeline's ledger,
// and where it waits for something in wal2vec's schema.
type Waiting struct {
	PID              int32
	Application      string
	AtLeast          time.Duration
	Schema, Pipeline string
}

// FindBlocker returns the session that has kept others waiting in the longest transaction; nil
// where no session waits.
func FindBlocker(ctx context.Context, db Querier, w Waiting) (*Blocker, error) {
	var b Blocker
	var since float64
	var waited *float64
	err := db.QueryRow(ctx, sql.Query("session_blockers"), w.PID, w.Application, w.AtLeast.Seconds(), w.Schema, "ledger_"+w.Pipeline).
		Scan(&b.PID, &b.Role, &b.Application, &b.State, &since, &b.ours, &b.writes, &b.client, &b.begun, &waited)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no session is in the way
	}
	if err != nil {
		return nil, fmt.Errorf("asking who keeps a lock: %w", err)
	}
	b.Since = time.Duration(since * float64(time.Second))
	if waited != nil {
		b.Waited = time.Duration(*waited * float64(time.Second))
	}
	return &b, nil
}

// Works reports whether it is a session of the pipeline itself that is at work: one that is waited
// for in the ordinary way. Its name alone says nothing, so its role is this session's, or may write
// the ledger.
func (b *Blocker) Works(pipeline string) bool {
	return of(b.Application, pipeline) && (b.ours || b.writes) && b.State == "active" && !b.client
}

// Hung reports whether it is a session of the pipeline, with this session's role, whose client has
// said nothing for so long in the middle of a transaction. The program never pauses there: its
// process is stopped, or its machine is gone.
func (b *Blocker) Hung(pipeline string, after time.Duration) bool {
	return b.PID != 0 && of(b.Application, pipeline) && b.ours && b.client && b.begun != nil && b.Since >= after
}

// End ends a session that is still hung, and reports whether it did. What it has not committed is
// rolled back.
func (b *Blocker) End(ctx context.Context, db Querier, after time.Duration) (ended bool, err error) {
	err = db.QueryRow(ctx, sql.Query("session_end"), b.PID, b.begun, b.Application, after.Seconds()).Scan(&ended)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ending the session that keeps a lock: %w", err)
	}
	return ended, nil
}

// String names it for people, on one line whatever its names hold.
func (b *Blocker) String() string {
	if b.PID == 0 {
		return "a prepared transaction (pg_prepared_xacts)"
	}
	text := fmt.Sprintf("process %d (role %s, application %q", b.PID, pgname.Identifier(b.Role), b.Application)
	if b.State != "" {
		text += fmt.Sprintf(", %s for %s", b.State, b.Since.Round(time.Second))
	}
	return text + ")"
}

// Try says what a person does about it.
func (b *Blocker) Try() string {
	if b.PID == 0 {
		return "end the prepared transaction: COMMIT PREPARED or ROLLBACK PREPARED"
	}
	return fmt.Sprintf("end its transaction, or the session: SELECT pg_catalog.pg_terminate_backend(%d);", b.PID)
}
