package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/statement"
)

// Stale returns the upserts to encode, by generation: those whose text it lacks, dead letters too,
// or every one of a full job or one that encodes again.
func (j *Job) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	if j.params.Mode != Full && !j.again {
		return j.sink.stale(ctx, j.layout, changes, true)
	}
	var lacks []change.Lack
	for _, g := range j.layout.generations {
		_, at, err := j.layout.textsBy(changes, g.template)
		if err != nil {
			return nil, err
		}
		if len(at) > 0 {
			lacks = append(lacks, change.Lack{Generation: g.ID, Template: g.template, At: at})
		}
	}
	return lacks, nil
}

// locked is the pipeline's row under its lock.
type locked struct {
	version   change.Version
	truncated change.Version
	counter   int64
	partial   change.LSN // where it is asked for
}

func (p *locked) fields() []any {
	return []any{&p.version.Epoch, &p.version.LSN, &p.truncated.Epoch, &p.truncated.LSN, &p.counter}
}

func (s *Sink) lockPipeline(ctx context.Context, tx pgx.Tx) (locked, error) {
	var p locked
	err := tx.QueryRow(ctx, s.query("pipeline_lock"), s.pipeline).Scan(p.fields()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, s.missing()
	}
	if err != nil {
		return p, s.explain(err, "locking the pipeline")
	}
	return p, nil
}

// Commit writes a chunk, or does nothing. Several chunks may be written at once, each once, and in
// any order: the job's cursor moves when all the chunks before it are written. Keys of two chunks
// differ, and each transaction takes its rows in the order of their keys, behind a share of the
// pipeline's row.
//
// protocol.ErrChunkStale and NeedVectorsError: read the chunk again. protocol.ErrJobLost: stop.
// protocol.ErrGenerations: open the job again.
func (j *Job) Commit(ctx context.Context, c protocol.Chunk) (protocol.ChunkResult, error) {
	if err := j.cover(ctx, c); err != nil {
		return protocol.ChunkResult{}, err
	}
	result, err := j.write(ctx, c, nil)
	if isTooLong(err) {
		var unheld []change.Change
		if c.Changes, unheld, err = j.sink.divide(ctx, j.layout, c.Changes); err != nil {
			return protocol.ChunkResult{}, err
		}
		result, err = j.write(ctx, c, unheld)
	}
	if err != nil {
		return protocol.ChunkResult{}, j.sink.explain(j.sink.unlessOutdated(ctx, j.layout, err), "writing a chunk to the sink")
	}
	j.written(c, result)
	return result, nil
}

// write is the transaction of a chunk; the ledger cannot have the rows that are not held.
func (j *Job) write(ctx context.Context, c protocol.Chunk, unheld []change.Change) (protocol.ChunkResult, error) {
	w, err := j.layout.prepare(c.Changes, c.Encodings, c.A.LSN)
	if err != nil {
		return protocol.ChunkResult{}, err
	}
	w.force = c.Force
	var result protocol.ChunkResult
	// Each statement must see what was committed before it, whatever a role's transactions are by
	// default.
	err = j.sink.writeTx(ctx, j.layout, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if w.known, err = j.enter(ctx, tx, c); err != nil {
			return err
		}
		failpoint.Hit("sink_begun")
		var out written
		if err := w.load(ctx, tx, j, c.A.Epoch, &out); err != nil {
			return err
		}
		if err := out.check(); err != nil {
			return err
		}
		if err := w.settle(ctx, tx, j.sink, j.layout, &out); err != nil {
			return err
		}
		aside, err := j.layout.setAside(ctx, tx, j.sink, unheld, c.A)
		if err != nil {
			return err
		}
		failpoint.Hit("sink_written")
		if err := failpoint.Fail("sink_written"); err != nil {
			return err
		}
		result = w.count(&out, j.withoutText(w))
		result.Failed += aside
		result.Deleted += len(unheld) - aside
		return j.advance(ctx, tx, c, result)
	})
	return result, err
}

// enter shares the pipeline's row for this transaction and checks that what the chunk was read
// under still holds. It returns the position up to which the sink may show rows.
func (j *Job) enter(ctx context.Context, tx pgx.Tx, c protocol.Chunk) (change.LSN, error) {
	var p locked
	var partial change.LSN
	var one int
	b := &pgx.Batch{}
	b.Queue(j.sink.query("settings"))
	b.Queue(j.sink.query("pipeline_share"), j.sink.pipeline).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(append(p.fields(), &partial)...); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return j.sink.missing()
	})
	b.Queue(j.sink.query("job_held"), j.id, j.token).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&one); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return protocol.ErrJobLost
	})
	if err := send(ctx, tx, b); err != nil {
		return 0, err
	}
	known := max(partial, p.version.LSN)
	switch {
	case p.version.Epoch != c.A.Epoch, p.truncated.Compare(c.A) > 0:
		return 0, protocol.ErrChunkStale
	case p.counter != j.layout.counter:
		return 0, protocol.ErrGenerations
	case c.A.Compare(j.started) < 0:
		// A tombstone above the job's start may be gone already: only the start keeps them.
		return 0, fmt.Errorf("writing a chunk: it was read at %s, before its job started at %s", c.A, j.started)
	case c.PartialUntil > known:
		return 0, fmt.Errorf("writing a chunk: it shows what is before %s, the pipeline's row says %s", c.PartialUntil, partial)
	}
	return known, nil
}

// withoutText counts the rows without text: for a build by the template of its generation, though
// another's may have one.
func (j *Job) withoutText(w *writes) int {
	n := w.deletes.len()
	for i := range j.layout.generations {
		if j.layout.generations[i].ID == j.params.Generation {
			n += w.upserts[i].gone.len()
		}
	}
	return n
}

func (w *writes) count(out *written, withoutText int) protocol.ChunkResult {
	r := protocol.ChunkResult{
		Written: int(out.vectors), Superseded: w.all.len() - int(out.accepted), Deleted: withoutText,
		Failed: int(out.failed),
	}
	r.Unchanged = max(0, w.all.len()-r.Written-r.Superseded-r.Deleted-r.Failed)
	return r
}

// Sweep deletes the keys that the job did not see and no event touched since it started, and closes
// the job: they are gone from the source. Call it after the last chunk. It returns their number.
func (j *Job) Sweep(ctx context.Context) (int64, error) {
	if j.params.Limit > 0 || j.params.Mode == Retry {
		return 0, fault.New(fault.Internal, "", "a job that has not seen every key cannot sweep")
	}
	if n := j.scattered(); n > 0 {
		return 0, fault.New(fault.Internal, "", "%d chunks are written behind one that is not: a job that has not seen every key cannot sweep", n)
	}
	var swept int64
	err := j.sink.writeTx(ctx, j.layout, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := j.alone(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, j.layout.sweep, int64(j.started.Epoch), j.started.LSN.String())
		if err != nil {
			return err
		}
		swept = tag.RowsAffected()
		for _, g := range j.layout.generations {
			if swept == 0 {
				break
			}
			if err := statement.Run(ctx, tx, g.removeDead); err != nil {
				return err
			}
		}
		if err := j.reconcileLetters(ctx, tx); err != nil {
			return err
		}
		failpoint.Hit("sweep_written")
		return j.close(ctx, tx, "swept", swept)
	})
	if err != nil {
		return 0, j.sink.explain(err, "sweeping")
	}
	return swept, nil
}

func (j *Job) reconcileLetters(ctx context.Context, tx pgx.Tx) error {
	for _, g := range j.layout.generations {
		if _, err := tx.Exec(ctx, g.lettersReconcile, j.sink.pipeline, int64(j.started.Epoch), (max(1, j.started.LSN) - 1).String(), noRoom); err != nil {
			return err
		}
	}
	return nil
}

// alone locks the pipeline for this transaction only, then the job, and checks the epoch.
func (j *Job) alone(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
		return err
	}
	p, err := j.sink.lockPipeline(ctx, tx)
	if err != nil {
		return err
	}
	if err := j.held(ctx, tx); err != nil {
		return err
	}
	if p.version.Epoch != j.started.Epoch {
		return protocol.ErrJobLost
	}
	if p.counter != j.layout.counter {
		return protocol.ErrGenerations
	}
	return nil
}

// Finish closes a job that does not sweep.
func (j *Job) Finish(ctx context.Context) error {
	err := j.sink.writing(ctx, func(tx pgx.Tx) error {
		// Chunks look at the job's row under a share of the pipeline's.
		if _, err := j.sink.lockPipeline(ctx, tx); err != nil {
			return err
		}
		if err := j.held(ctx, tx); err != nil {
			return err
		}
		outcome := "limit"
		if j.params.Mode == Retry {
			outcome = "retried"
		}
		return j.close(ctx, tx, outcome, 0)
	})
	if err != nil {
		return j.sink.explain(err, "closing the job")
	}
	return nil
}
