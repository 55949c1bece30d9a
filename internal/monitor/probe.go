package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sql"
)

// Querier is what a probe needs of a pool or a connection.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// sinkState is what the sink knows of a pipeline.
type sinkState struct {
	registered    bool // false: no init has set this pipeline up, or the schema is missing; the rest is zero
	slot          string
	systemID      string
	epoch         change.Epoch
	watermark     change.LSN
	partialUntil  change.LSN
	keys          []string
	generation    *int
	model         *string
	dimension     *int
	vectors       *string    // name of the active generation's table
	hash          string     // the ledger's column for its texts
	oldestPending *time.Time // by the source's clock
	gap           string     // why the last stream ended, where that was one
	reportAge     *float64   // seconds since the stream last reported, by the sink's clock
	deadLetters   int64
	backfill      *Backfill
	full          change.FullBackfill
	blocker       *pgsession.Blocker // of the stream's sessions in the sink
}

// sourceState is what the source knows of the slot and its log.
type sourceState struct {
	systemID      string
	now           time.Time
	current       change.LSN
	slotExists    bool
	active        bool
	walStatus     string
	safeWALBytes  *int64
	retainedBytes int64
	confirmed     change.LSN
	invalidation  string
}

func (m *Monitor) readSource(ctx context.Context, slot string) (*sourceState, error) {
	var r sourceState
	err := m.source.QueryRow(ctx, sql.Query("monitor_source"), slot).Scan(&r.systemID, &r.now, &r.current, &r.slotExists, &r.active,
		&r.walStatus, &r.safeWALBytes, &r.retainedBytes, &r.confirmed, &r.invalidation)
	if err != nil {
		return nil, fmt.Errorf("reading slot %q on the source: %w", slot, err)
	}
	return &r, nil
}

func (m *Monitor) readSink(ctx context.Context) (*sinkState, error) {
	if m.opts.Trusted != nil {
		if exists, err := m.opts.Trusted(ctx); err != nil || !exists {
			return &sinkState{}, err
		}
	}
	query, err := sql.Render("monitor_pipeline", struct{ Schema, Letters string }{m.quote(), m.quote("dead_letter_" + m.opts.Pipeline)})
	if err != nil {
		return nil, err
	}
	var k sinkState
	var b struct {
		id, processed    *int64
		mode             *string
		running          *bool
		cursor           []*string
		created, updated *time.Time
	}
	err = m.sink.QueryRow(ctx, query, m.opts.Pipeline).Scan(
		&k.slot, &k.systemID, &k.epoch, &k.watermark, &k.partialUntil, &k.keys, &k.generation, &k.model, &k.dimension, &k.vectors, &k.hash,
		&k.oldestPending, &k.reportAge, &k.gap, &k.deadLetters, &b.id, &b.mode, &b.running, &b.processed, &b.cursor, &b.created, &b.updated)
	switch {
	case errors.Is(err, pgx.ErrNoRows), missingTable(err):
		return &sinkState{}, nil
	case err != nil:
		return nil, m.explain(err, "reading the pipeline in the sink")
	}
	k.registered = true
	if k.full, err = m.readFullBackfill(ctx); err != nil {
		return nil, err
	}
	if b.id != nil {
		if b.mode == nil || b.running == nil || b.processed == nil || b.created == nil || b.updated == nil {
			return nil, fault.New(fault.Usage, "wal2vec doctor", "table backfill of the sink has job %d without its mode, progress or times", *b.id)
		}
		k.backfill = &Backfill{
			ID: *b.id, Mode: *b.mode, Running: *b.running, Processed: *b.processed, Cursor: texts(b.cursor),
			StartedAt: b.created.UTC(), UpdatedAt: b.updated.UTC(),
		}
	}
	if k.blocker, err = m.readBlocker(ctx); err != nil {
		return nil, err
	}
	return &k, nil
}

func (m *Monitor) readFullBackfill(ctx context.Context) (full change.FullBackfill, err error) {
	query, err := sql.Render("sink_full_backfill", struct{ Schema string }{m.quote()})
	if err != nil {
		return "", err
	}
	err = m.sink.QueryRow(ctx, query, m.opts.Pipeline).Scan(&full)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // torn down in between
		return "", m.explain(err, "asking whether every row of the source was read")
	}
	return full, nil
}

// readBlocker finds the session for whose lock the stream waits, or has been waiting in rounds.
func (m *Monitor) readBlocker(ctx context.Context) (*pgsession.Blocker, error) {
	b, err := pgsession.FindBlocker(ctx, m.sink, pgsession.Waiting{
		Application: pgsession.Streaming(m.opts.Pipeline), Schema: m.opts.Schema, Pipeline: m.opts.Pipeline,
	})
	if err != nil || b == nil || b.Works(m.opts.Pipeline) || max(b.Waited, b.Since) < lockWaited {
		return nil, err
	}
	return b, nil
}

// texts are the parts of a key; one that is missing is an empty text, and no array stays none.
func texts(parts []*string) []string {
	var texts []string
	for _, part := range parts {
		text := ""
		if part != nil {
			text = *part
		}
		texts = append(texts, text)
	}
	return texts
}

// rowCounts are the figures that take a scan of the ledger.
type rowCounts struct {
	live, fresh int64
	source      *int64 // about how many rows the source has; nil where that is not asked for, or not known
	notAsked    string // why this role does not ask
	at          time.Time
}

func (m *Monitor) countRows(ctx context.Context, k *sinkState) (*rowCounts, error) {
	data := struct {
		Ledger, Vectors, Hash string
		Keys                  []string
	}{Ledger: m.quote("ledger_" + m.opts.Pipeline)}
	if k.vectors != nil {
		data.Vectors, data.Hash = m.quote(*k.vectors), pgname.Catalogue(k.hash)
	}
	for _, key := range k.keys {
		data.Keys = append(data.Keys, pgname.Catalogue(key))
	}
	query, err := sql.Render("monitor_rows", data)
	if err != nil {
		return nil, err
	}
	rows := rowCounts{at: m.opts.Now().UTC()}
	err = m.sink.QueryRow(ctx, query).Scan(&rows.live, &rows.fresh)
	switch {
	case missingTable(err):
		return nil, nil //nolint:nilnil // a pipeline that is being set up has no ledger yet: nothing to count
	case err != nil:
		return nil, m.explain(err, "counting the rows of the sink")
	}
	rows.source, rows.notAsked = m.sourceRows(ctx, k)
	return &rows, nil
}

// NotAskedError says why the source is not asked for its rows by this role.
type NotAskedError struct{ Reason string }

func (e *NotAskedError) Error() string { return e.Reason }

// sourceRows estimates the rows of the source where the sink may not know all of them. That this
// role may not read the table, or cannot now, is no error of the monitor's: the estimate is
// missing. It says why where the role does not ask.
func (m *Monitor) sourceRows(ctx context.Context, k *sinkState) (rows *int64, notAsked string) {
	if m.opts.SourceRows == nil || k.full == change.BackfillDone {
		return nil, ""
	}
	n, err := m.opts.SourceRows(ctx)
	if refused, ok := errors.AsType[*NotAskedError](err); ok {
		return nil, refused.Reason
	}
	if err != nil {
		m.opts.Logger.Debug().Err(err).Msg("estimating the rows of the source")
		return nil, ""
	}
	return &n, ""
}

func (m *Monitor) quote(table ...string) string {
	return pgname.Catalogue(append([]string{m.opts.Schema}, table...)...)
}

// missingTable reports an undefined table or schema.
func missingTable(err error) bool {
	state := fault.SQLSTATE(err)
	return state == "42P01" || state == "3F000"
}

// explain adds what to do where a code says it.
func (m *Monitor) explain(err error, doing string) error {
	if scan, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return fault.Wrap(scan.Err, fault.Usage, "wal2vec doctor", "%s: column %q holds what wal2vec does not write there", doing, scan.FieldName)
	}
	switch fault.SQLSTATE(err) {
	case "42703": // undefined column: tables of another version
		return fault.Wrap(err, fault.Usage, "wal2vec init, as the role that set it up", "%s: schema %q is not of this version", doing, m.opts.Schema)
	case "42501":
		return fault.Wrap(err, fault.Usage, "wal2vec init --grant-search=ROLE, as the role that set it up", "%s: this role may not", doing)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
