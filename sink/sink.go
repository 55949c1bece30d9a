package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sql"
)

// Options say where the sink is.
type Options struct {
	// Pool connects to the sink database, directly or through a pooler that keeps sessions: a
	// backfill holds a session's lock.
	Pool *pgxpool.Pool
	// Schema holds wal2vec's tables; "wal2vec" when empty.
	Schema string
	// Pipeline names the pipeline: lower-case letters, digits and underscores, not a digit first,
	// at most 40 bytes.
	Pipeline string
	// Owner is the role that set wal2vec up, whose tables are read beside those of the session's
	// own role and of superusers; see Trusted. Empty: none.
	Owner string
	// View is the schema-qualified name of the view that people query,
	// "analytics_features.product_embeddings", with double quotes as in SQL.
	View string
	// KeepView is true where View is a default alone: a pipeline that has a view keeps it.
	KeepView bool
	// IndexMemory is the server's memory for building an index, in bytes; zero takes what the
	// vectors need, within the server's settings.
	IndexMemory int64
	// MaxRowBytes is the limit of the templates that the sink hands out; see
	// change.Template.Limited. Zero means no limit.
	MaxRowBytes int64
	// RetryMax caps the pause between two tries to get locks that others hold; zero means
	// lockPause.
	RetryMax time.Duration
	Logger   zerolog.Logger
}

// Sink is one pipeline's part of the sink database. Its methods may be called from several
// goroutines at once.
type Sink struct {
	pool     *pgxpool.Pool
	schema   string
	pipeline string
	owner    string
	view     string
	keepView bool
	log      zerolog.Logger

	indexMemory int64
	maxRowBytes int64
	patience    patience
	hungAfter   time.Duration
	attended    attended
}

// New returns a Sink; it connects to nothing.
func New(opts Options) *Sink {
	if opts.Schema == "" {
		opts.Schema = "wal2vec"
	}
	return &Sink{
		pool: opts.Pool, schema: opts.Schema, pipeline: opts.Pipeline, owner: opts.Owner, view: opts.View, keepView: opts.KeepView, log: opts.Logger,
		indexMemory: opts.IndexMemory, maxRowBytes: opts.MaxRowBytes,
		patience: patience{wait: lockWait, pause: min(cmp.Or(opts.RetryMax, lockPause), lockPause), tries: lockTries}, hungAfter: hungAfter,
	}
}

// connect opens a session beside the pool.
func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgsession.Sink(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the sink: %w", fault.Connecting(err))
	}
	return conn, nil
}

// querier is what reads need of a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

var pipelineName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// query renders a statement that names nothing but wal2vec's schema and the pipeline's dead
// letters.
func (s *Sink) query(name string) string {
	return render(name, struct{ Schema, Letters string }{pgname.Catalogue(s.schema), s.letters()})
}

func (s *Sink) letters() string { return pgname.Catalogue(s.schema, "dead_letter_"+s.pipeline) }

// render panics on a template that does not fit its data, which is a mistake of the program.
func render(name string, data any) string {
	text, err := sql.Render("sink_"+name, data)
	if err != nil {
		panic(fmt.Sprintf("sink: %v", err))
	}
	return text
}

// viewName splits the view's name: the one that the pipeline's row has where no other is wanted,
// else the configured one.
func (s *Sink) viewName(st State) (schema, name string, err error) {
	if s.keepView && st.ViewName != "" {
		return st.ViewSchema, st.ViewName, nil
	}
	view, err := config.ParseName(s.view)
	if err != nil {
		return "", "", fault.Wrap(err, fault.Usage, "write it as schema.name", "reading the view's name %q", s.view)
	}
	return view.Schema, view.Name, nil
}

// currentView is viewName by the pipeline's row, as far as there is one and this role may read it.
func (s *Sink) currentView(ctx context.Context) (schema, name string, err error) {
	var st State
	if s.keepView {
		if read, found, unread := s.lookUp(ctx, s.pool); unread == nil && found {
			st = read
		}
	}
	return s.viewName(st)
}

// lockClass makes the first key of an advisory lock: distinct for each purpose and each schema of
// wal2vec in one database.
func (s *Sink) lockClass(purpose string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte("wal2vec " + purpose + " " + s.schema)) // never fails
	return int32(h.Sum32() & 0x7fffffff)
}

const initCommand = "wal2vec init"

// initFirst is the advice where that has not been run: another role that runs it would be told
// which rights it lacks.
const initFirst = initCommand + ", as the role that sets it up"

// explain adds what to do to errors that say that wal2vec's tables are missing or closed to this
// role. An error that says what to do already is left as it is.
func (s *Sink) explain(err error, doing string) error {
	if _, explained := errors.AsType[*fault.Error](err); explained {
		return err
	}
	if scan, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return unscannable(scan, doing)
	}
	switch fault.SQLSTATE(err) {
	case "42P01", "3F000", "42703": // undefined table, invalid schema name, undefined column
		absent := fault.Missing(initFirst, "%s: schema %q is not set up", doing, s.schema)
		absent.Err = err
		return absent
	case "25006":
		return fault.Wrap(err, fault.Unavailable, "wal2vec doctor, which looks at what makes it so; it goes on when that has ended",
			"%s: the sink takes no writes", doing)
	case "22021", "22P05":
		return fault.Wrap(err, fault.Usage, "wal2vec doctor, which compares the encodings", "%s: the sink's encoding has no form for a text", doing)
	case "42501": // insufficient privilege
		const grant = initCommand + " --grant-stream=ROLE, as the role that set it up (to search: --grant-search=ROLE); or run this as the stream's role"
		return fault.Wrap(err, fault.Usage, grant, "%s: this role may not", doing)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

func (s *Sink) missing() error {
	return fault.Missing(initFirst, "pipeline %q does not exist in schema %q of the sink", s.pipeline, s.schema)
}
