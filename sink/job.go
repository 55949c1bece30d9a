package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Mode is what a backfill encodes.
type Mode string

// The modes: the texts that have no vector, every text again, the dead letters, or the texts that
// have no vector so that one generation has all.
const (
	Incremental Mode = "incremental"
	Full        Mode = "full"
	Retry       Mode = "retry"
	Build       Mode = "build"
)

// JobParams are what a run must repeat to go on with a job.
type JobParams struct {
	Mode Mode
	// Generation is the one that a Build fills; zero for the other modes.
	Generation int
	// Limit is the number of rows after which the job ends, without a sweep; zero means every row.
	Limit int64
	// Restart gives up what a run before left unfinished.
	Restart bool
	// Again encodes every text that is read, as a Full job does: a Retry that is to write over
	// vectors that are wrong. It is not kept: who goes on with a job asks for it again.
	Again bool
}

// JobCounts are a job's rows up to its cursor, of all the processes that held it, each row once. A
// chunk that was written behind one that was not is read again by the process that goes on with the
// job, and its rows count then, as unchanged where nothing happened since.
type JobCounts struct{ Processed, Written, Unchanged, Superseded, Failed int64 }

func (c *JobCounts) add(more JobCounts) {
	c.Processed += more.Processed
	c.Written += more.Written
	c.Unchanged += more.Unchanged
	c.Superseded += more.Superseded
	c.Failed += more.Failed
}

// Job is a backfill that this process holds. Its methods may be called from several goroutines at
// once; Sweep, Finish and Close end it.
type Job struct {
	sink   *Sink
	layout *layout
	holder *pgx.Conn // its session's lock says that the process lives
	copies []copies  // by generation

	id      int64
	token   string
	params  JobParams
	again   bool
	resync  bool
	started change.Version

	mu sync.Mutex
	// progress is what is written without a gap from the beginning on; ahead are chunks that are
	// written behind a gap, by the key that they begin behind.
	progress progress
	ahead    map[change.Key]progress

	covering sync.Mutex
	covered  change.LSN // partial_until is not below it, or the watermark is not
}

// progress is a cursor and the counts of the rows up to it, or of one chunk.
type progress struct {
	cursor change.Key
	counts JobCounts
}

// OpenJob takes the refresh that a resync left open (unless params have a limit or ask for a retry
// or a generation), else the open job of the same params, else a new one, whose row is committed
// when OpenJob returns: read the source only after that. After a Resync job, call it again for what
// was asked. An error of kind fault.Busy means that a process that lives holds the job.
func (s *Sink) OpenJob(ctx context.Context, params JobParams) (*Job, error) {
	l, err := s.open(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	holder, err := connect(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	j := &Job{sink: s, layout: l, holder: holder, copies: l.copies(s), again: params.Again, ahead: make(map[change.Key]progress)}
	defer s.attend(ctx, 0)()
	if err := pgx.BeginFunc(ctx, holder, func(tx pgx.Tx) error { return j.open(ctx, tx, params) }); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// open finds or makes the job under the pipeline's lock, which makes opening exclusive.
func (j *Job) open(ctx context.Context, tx pgx.Tx, params JobParams) error {
	var v change.Version
	var truncated change.Version
	var counter int64
	err := tx.QueryRow(ctx, j.sink.query("pipeline_lock"), j.sink.pipeline).Scan(&v.Epoch, &v.LSN, &truncated.Epoch, &truncated.LSN, &counter)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.Usage, initFirst, "pipeline %q has no slot yet", j.sink.pipeline)
	}
	if err != nil {
		return j.sink.explain(err, "locking the pipeline")
	}
	if params.Mode == Build {
		if err := j.buildable(params.Generation, counter); err != nil {
			return err
		}
	}
	id, found, err := j.find(ctx, tx, params, v.Epoch)
	if err != nil {
		return err
	}
	if found {
		if err := j.lock(ctx, tx, id); err != nil {
			return err
		}
	}
	if found && params.Restart {
		if _, err := tx.Exec(ctx, j.sink.query("job_close"), id, "restarted", 0); err != nil {
			return fmt.Errorf("closing the job to restart: %w", err)
		}
	}
	if !found || params.Restart {
		// A refresh that starts again is still the refresh that the resync asked for.
		row := tx.QueryRow(ctx, j.sink.query("job_insert"), j.sink.pipeline, params.Mode, params.Limit, found && j.resync, int64(v.Epoch), v.LSN.String(),
			params.Generation)
		if err := row.Scan(&id); err != nil {
			return j.sink.explain(err, "opening a job")
		}
		if err := j.lock(ctx, tx, id); err != nil {
			return err
		}
	}
	return j.take(ctx, tx, id)
}

// buildable refuses to fill a generation that no process writes any more.
func (j *Job) buildable(generation int, counter int64) error {
	if counter != j.layout.counter {
		return protocol.ErrGenerations
	}
	for _, g := range j.layout.generations {
		if g.ID == generation {
			return nil
		}
	}
	return fault.New(fault.Usage, "wal2vec generation list", "generation %d is not there, or retired", generation)
}

func (j *Job) find(ctx context.Context, tx pgx.Tx, params JobParams, epoch change.Epoch) (id int64, found bool, err error) {
	err = tx.QueryRow(ctx, j.sink.query("job_find"), j.sink.pipeline, params.Mode, params.Limit, int64(epoch), params.Generation).Scan(&id, &j.resync)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, j.sink.explain(err, "looking for an open job")
	}
	return id, true, nil
}

// lock marks the job as held for as long as the holder's session lives.
func (j *Job) lock(ctx context.Context, tx pgx.Tx, id int64) error {
	var locked bool
	if err := tx.QueryRow(ctx, j.sink.query("job_lock_try"), j.sink.lockClass("backfill"), lockKey(id)).Scan(&locked); err != nil {
		return fmt.Errorf("locking the job: %w", err)
	}
	if !locked {
		return fault.New(fault.Busy, "wait for it to end", "another process runs this backfill (job %d)", id)
	}
	return nil
}

// lockKey folds a job's id into the second key of an advisory lock, as the statements that look for
// the lock do.
func lockKey(id int64) int32 { return int32(id % 2147483647) }

// take gives the job a new token: a process that held it before can commit nothing more.
func (j *Job) take(ctx context.Context, tx pgx.Tx, id int64) error {
	var cursor []*string
	counts := &j.progress.counts
	err := tx.QueryRow(ctx, j.sink.query("job_take"), id).Scan(
		&j.params.Mode, &j.params.Limit, &j.params.Generation, &j.resync, &j.token, &cursor, &j.started.Epoch, &j.started.LSN,
		&counts.Processed, &counts.Written, &counts.Unchanged, &counts.Superseded, &counts.Failed)
	if err != nil {
		return j.sink.explain(err, "taking the job")
	}
	j.id = id
	if cursor == nil {
		return nil
	}
	if err := fits(j.layout.key, cursor); err != nil {
		return fault.Wrap(err, fault.Usage, "wal2vec backfill --restart, and find out who may write the row: wal2vec doctor",
			"table backfill of the sink holds what wal2vec does not write there: job %d has the cursor %s", id, shown(cursor))
	}
	j.progress.cursor = keyOf(cursor)
	return nil
}

// Template renders the texts of the generations that the job writes: its changes carry one text of
// each template.
func (j *Job) Template() change.Template { return j.layout.texts.template }

// ID is the job's number; Mode and Limit are its own, which for a refresh of a resync are not those
// that were asked for.
func (j *Job) ID() int64 { return j.id }

// Mode is what the job encodes.
func (j *Job) Mode() Mode { return j.params.Mode }

// Limit is the number of rows after which the job ends; zero means every row.
func (j *Job) Limit() int64 { return j.params.Limit }

// Resync reports whether the job is the refresh that a resync asked for.
func (j *Job) Resync() bool { return j.resync }

// Cursor is the key up to which every chunk is written, empty at the beginning.
func (j *Job) Cursor() change.Key {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress.cursor
}

// Resume returns the cursor, to read on from. Chunks that are written behind a gap are forgotten:
// they are read again.
func (j *Job) Resume() change.Key {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.ahead)
	return j.progress.cursor
}

// Started is the watermark before the job's first read.
func (j *Job) Started() change.Version { return j.started }

// Counts are the job's rows up to the cursor.
func (j *Job) Counts() JobCounts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress.counts
}

// scattered is the number of chunks that are written behind a gap.
func (j *Job) scattered() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.ahead)
}

// Close lets go of the job. One that is not finished stays open for the next run.
func (j *Job) Close() {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience) //nolint:forbidigo // closing has no caller's context
	defer cancel()
	// The server lets go when the session ends, but after Close returns; who comes next in this
	// process should find it free.
	_, _ = j.holder.Exec(ctx, "SELECT pg_catalog.pg_advisory_unlock_all()")
	_ = j.holder.Close(ctx)
}

func progressOf(c protocol.Chunk, r protocol.ChunkResult) progress {
	return progress{cursor: c.Cursor, counts: JobCounts{
		Processed: int64(len(c.Changes)), Written: int64(r.Written), Unchanged: int64(r.Unchanged), Superseded: int64(r.Superseded),
		Failed: int64(r.Failed),
	}}
}

// advance moves the cursor of the job's row behind the chunk, with the transaction that writes it,
// if all the chunks before it are committed. Only one chunk begins at the cursor, so no two
// transactions change the row. What commits in the meantime behind this chunk moves the row's
// cursor with the next one: the row may be behind the job, and is never ahead of what is committed.
func (j *Job) advance(ctx context.Context, tx pgx.Tx, c protocol.Chunk, r protocol.ChunkResult) error {
	j.mu.Lock()
	at, first := j.progress, c.After == j.progress.cursor
	if first {
		at.extend(progressOf(c, r))
		for next, found := j.ahead[at.cursor]; found && next.cursor != at.cursor; next, found = j.ahead[at.cursor] {
			at.extend(next)
		}
	}
	j.mu.Unlock()
	if !first {
		return nil
	}
	return j.save(ctx, tx, at)
}

// extend adds the chunk that follows.
func (p *progress) extend(next progress) {
	p.cursor = next.cursor
	p.counts.add(next.counts)
}

// written takes note of a chunk that is committed.
func (j *Job) written(c protocol.Chunk, r protocol.ChunkResult) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ahead[c.After] = progressOf(c, r)
	for next, found := j.ahead[j.progress.cursor]; found; next, found = j.ahead[j.progress.cursor] {
		delete(j.ahead, j.progress.cursor)
		j.progress.extend(next)
	}
}

// cover makes sure, in a transaction of its own, that partial_until is not below what the chunk may
// show: a chunk that moved it itself would keep every other one waiting. It moves it far enough for
// the chunks that follow.
func (j *Job) cover(ctx context.Context, c protocol.Chunk) error {
	if c.PartialUntil == 0 {
		return nil
	}
	j.covering.Lock()
	defer j.covering.Unlock()
	if c.PartialUntil <= j.covered {
		return nil
	}
	until := max(c.PartialUntil, c.PartialAhead)
	var one int
	err := j.sink.writing(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, j.sink.query("pipeline_partial"), j.sink.pipeline, until.String(), int64(c.A.Epoch)).Scan(&one)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows): // another epoch, in which the position means nothing: enter tells
		return nil
	case err != nil:
		return j.sink.explain(err, "writing how far the sink may be ahead")
	}
	j.covered = until
	return nil
}

// save writes cursor and counts.
func (j *Job) save(ctx context.Context, tx pgx.Tx, p progress) error {
	var cursor []string
	if p.cursor != "" {
		cursor = p.cursor.Parts()
	}
	n := p.counts
	_, err := tx.Exec(ctx, j.sink.query("job_advance"), j.id, cursor, n.Processed, n.Written, n.Unchanged, n.Superseded, n.Failed)
	if err != nil {
		return fmt.Errorf("moving the job's cursor: %w", err)
	}
	return nil
}

// held fails when the job is not this process's any more.
func (j *Job) held(ctx context.Context, tx pgx.Tx) error {
	var one int
	err := tx.QueryRow(ctx, j.sink.query("job_lock"), j.id, j.token).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return protocol.ErrJobLost
	}
	if err != nil {
		return j.sink.explain(err, "locking the job")
	}
	return nil
}

// close ends the job in its transaction.
func (j *Job) close(ctx context.Context, tx pgx.Tx, outcome string, swept int64) error {
	if err := j.save(ctx, tx, progress{j.Cursor(), j.Counts()}); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, j.sink.query("job_close"), j.id, outcome, swept); err != nil {
		return fmt.Errorf("closing the job (%s): %w", strings.ToLower(outcome), err)
	}
	return nil
}
