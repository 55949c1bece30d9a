package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

// State is everything that the sink knows of a pipeline besides its rows.
type State struct {
	Pipeline
	// Epoch and Watermark are zero until Start.
	Epoch     change.Epoch
	Watermark change.LSN
	// Truncated is the version of the last TRUNCATE; zero when there was none.
	Truncated change.Version
	// PartialUntil is the position until which the sink shows more than its watermark says; zero
	// when it does not.
	PartialUntil change.LSN
	// Owner is the process that took over last; empty when none has since Start.
	Owner string
	// SlotName is the slot that the pipeline may have; Slot is empty in the meantime between one
	// slot and the next.
	SlotName string
	// ViewSchema and ViewName name the view; empty until there is a generation.
	ViewSchema string
	ViewName   string
	// Generations are those that are not retired, by their numbers; Generation is the active one of
	// them, nil when there is none.
	Generations []Generation
	Generation  *Generation
	// FullBackfill says whether every row of the source is known.
	FullBackfill change.FullBackfill
	// Jobs are the open backfills, oldest first.
	Jobs []JobState
	// OldestPending is the commit time of the oldest change that the stream had not committed when
	// it last reported, at ReportedAt; zero when there was none. ReportedAt is zero when no stream
	// has ever reported.
	OldestPending time.Time
	ReportedAt    time.Time
	// Gap is why the last stream ended, where that was a gap and nothing has streamed since; else
	// empty.
	Gap string

	all     []Generation // the retired ones too
	counter int64        // of the set of generations

	maxRowBytes int64 // the limit of the templates
}

// Started reports whether the pipeline has a slot and a watermark.
func (st State) Started() bool { return st.Epoch != 0 }

// Version is the watermark as a version.
func (st State) Version() change.Version {
	return change.Version{Epoch: st.Epoch, LSN: st.Watermark}
}

// JobState is an open backfill.
type JobState struct {
	ID   int64
	Mode Mode
	// Generation is the one that a Build fills; zero for the other modes.
	Generation int
	Limit      int64 // zero: every row
	Resync     bool
	// Swap is true for a Resync that a swapped table made necessary.
	Swap      bool
	Started   change.Version
	Processed int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// UnderWay is true while a live process holds the job, and for an hour after anything happened
	// to it.
	UnderWay bool
}

// resting is how long a job that no process holds is expected to be gone on with (a guess: long
// enough to start a program again).
const resting = time.Hour

// Loading reports whether a backfill is under way that may write many of a generation's vectors:
// its index is better built after that. One that was left open and forgotten is none, nor is a
// retry of dead letters, nor the build of another generation, which finds the others full.
func (st State) Loading(g Generation) bool {
	return slices.ContainsFunc(st.Jobs, func(j JobState) bool {
		return j.UnderWay && j.Mode != Retry && (j.Mode != Build || j.Generation == g.ID)
	})
}

// State reads the pipeline. Its error is of kind fault.Usage when the pipeline is not set up here,
// or by a newer wal2vec.
func (s *Sink) State(ctx context.Context) (State, error) {
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return State{}, err
	}
	if st.FullBackfill, err = s.FullBackfill(ctx); err != nil {
		return State{}, err
	}
	rows, err := s.pool.Query(ctx, s.query("jobs"), s.pipeline, int64(s.lockClass("backfill")), resting)
	if err != nil {
		return State{}, s.explain(err, "reading the open backfills")
	}
	st.Jobs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (JobState, error) {
		var j JobState
		return j, row.Scan(&j.ID, &j.Mode, &j.Generation, &j.Limit, &j.Resync, &j.Swap, &j.Started.Epoch, &j.Started.LSN, &j.Processed, &j.CreatedAt,
			&j.UpdatedAt, &j.UnderWay)
	})
	if err != nil {
		return State{}, s.explain(err, "reading the open backfills")
	}
	var oldest *time.Time
	err = s.pool.QueryRow(ctx, s.query("stream_state"), s.pipeline).Scan(&oldest, &st.ReportedAt, &st.Gap)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return State{}, s.explain(err, "reading the stream's report")
	}
	if oldest != nil {
		st.OldestPending = *oldest
	}
	return st, nil
}

// FullBackfill reads whether every row of the source is known. Its error is of kind fault.Usage
// when the pipeline is not set up here.
func (s *Sink) FullBackfill(ctx context.Context) (full change.FullBackfill, err error) {
	err = s.pool.QueryRow(ctx, s.query("full_backfill"), s.pipeline).Scan(&full)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", s.missing()
	case err != nil:
		return "", s.explain(err, "asking whether every row of the source was read")
	default:
		return full, nil
	}
}

// state reads the pipeline's row and its generations.
func (s *Sink) state(ctx context.Context, q querier) (State, error) {
	if err := s.checkSchema(ctx, q); err != nil {
		return State{}, err
	}
	st, found, err := s.lookUp(ctx, q)
	if err == nil && !found {
		err = s.missing()
	}
	return st, err
}

func (s *Sink) lookUp(ctx context.Context, q querier) (st State, found bool, err error) {
	var names, types []string
	st.maxRowBytes = s.maxRowBytes
	err = q.QueryRow(ctx, s.query("pipeline"), s.pipeline).Scan(
		&st.SystemID, &st.Timeline, &st.Slot, &st.Publication, &st.Table.Schema, &st.Table.Name, &st.Table.OID, &names, &types,
		&st.Epoch, &st.Watermark, &st.Truncated.Epoch, &st.Truncated.LSN, &st.PartialUntil, &st.Owner, &st.counter,
		&st.ViewSchema, &st.ViewName, &st.SlotName)
	if errors.Is(err, pgx.ErrNoRows) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, s.explain(err, "reading the pipeline")
	}
	if len(types) != len(names) {
		return State{}, false, damaged("pipeline", fmt.Errorf("%d key columns and %d types", len(names), len(types)))
	}
	for i := range names {
		st.Table.Key = append(st.Table.Key, change.Column{Name: names[i], Type: change.Unbounded(change.Type(types[i]))})
	}
	if err := st.checkRow(); err != nil {
		return State{}, false, err
	}
	st.all, err = s.generations(ctx, q)
	if err != nil {
		return State{}, false, err
	}
	for _, g := range st.all {
		if g.State != Retired {
			st.Generations = append(st.Generations, g)
		}
	}
	for i, g := range st.Generations {
		if g.State == Active {
			st.Generation = &st.Generations[i]
		}
	}
	return st, true, nil
}

// CheckSchema returns a fault of kind Usage where wal2vec's schema is not set up, or is not of this
// version.
func (s *Sink) CheckSchema(ctx context.Context) error { return s.checkSchema(ctx, s.pool) }

// checkSchema refuses a schema that another version of wal2vec made.
func (s *Sink) checkSchema(ctx context.Context, q querier) error {
	version, err := s.schemaVersion(ctx, q)
	if err != nil {
		return err
	}
	known := len(sql.Migrations())
	switch {
	case version > known:
		return s.newerSchema(version)
	case version < known:
		return fault.New(fault.Usage, initCommand+", as the role that set it up: that brings it up to date",
			"schema %q has version %d, this wal2vec works with %d", s.schema, version, known)
	}
	return nil
}

func (s *Sink) newerSchema(version int) error {
	return fault.New(fault.Usage, "use the wal2vec that set it up, or a newer one",
		"schema %q has version %d, this wal2vec knows %d", s.schema, version, len(sql.Migrations()))
}

func (s *Sink) schemaVersion(ctx context.Context, q querier) (int, error) {
	// Every command comes here before it reads another table. A schema that is not there now may be
	// another role's a moment later.
	exists, err := s.trusted(ctx, q)
	if err != nil {
		return 0, err
	}
	var version int
	if exists {
		err = q.QueryRow(ctx, s.query("schema_version")).Scan(&version)
	}
	if !exists || fault.SQLSTATE(err) == "42P01" { // undefined table: every command meets it before init
		return 0, fault.Missing(initFirst, "wal2vec is not set up in schema %q of the sink", s.schema)
	}
	if err != nil {
		return 0, s.explain(err, "reading the version of wal2vec's schema")
	}
	if version < 0 {
		return 0, damaged("schema_version", fmt.Errorf("version %d", version))
	}
	return version, nil
}

// Place reads the committed watermark, and the last transaction that was written.
func (s *Sink) Place(ctx context.Context) (change.Place, error) {
	var place change.Place
	var last *change.LSN
	var xid *int64
	var at *time.Time
	err := s.pool.QueryRow(ctx, s.query("version"), s.pipeline).Scan(&place.Epoch, &place.Watermark, &last, &xid, &at)
	if errors.Is(err, pgx.ErrNoRows) {
		return place, s.missing()
	}
	if err != nil {
		return place, s.explain(err, "reading the watermark")
	}
	if last != nil {
		place.Last.LSN = *last
	}
	if xid != nil && at != nil {
		if *xid < 0 || *xid > math.MaxUint32 {
			return place, damaged("pipeline", fmt.Errorf("transaction %d", *xid))
		}
		place.Last.XID, place.Last.CommitTime = uint32(*xid), *at
	}
	return place, nil
}

// Version reads the committed watermark. A backfill reads it before each SELECT on the source.
func (s *Sink) Version(ctx context.Context) (change.Version, error) {
	place, err := s.Place(ctx)
	return change.Version{Epoch: place.Epoch, LSN: place.Watermark}, err
}
