package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// Tests of chunks that are written at once and in any order.

// chunksOf cuts upserts of the keys from 1 to keys into chunks as one pass reads them at version a,
// the last of them empty.
func chunksOf(a change.Version, keys, size int) []protocol.Chunk {
	var all []change.Change
	for key := 1; key <= keys; key++ {
		all = append(all, upsert(key, 0, fmt.Sprint("text ", key)))
	}
	// In the order of their keys, which is that of texts.
	slices.SortFunc(all, func(x, y change.Change) int { return strings.Compare(string(x.Key), string(y.Key)) })
	var chunks []protocol.Chunk
	var cursor change.Key
	for part := range slices.Chunk(all, size) {
		c := protocol.Chunk{A: a, Changes: part, Encodings: encoded(vectorsOf(dimension, part...), nil), After: cursor, Cursor: part[len(part)-1].Key}
		cursor = c.Cursor
		chunks = append(chunks, c)
	}
	return append(chunks, protocol.Chunk{A: a, After: cursor, Cursor: cursor})
}

// behind returns the chunks that begin at the key or behind it.
func behind(chunks []protocol.Chunk, cursor change.Key) []protocol.Chunk {
	return slices.DeleteFunc(slices.Clone(chunks), func(c protocol.Chunk) bool { return c.After < cursor })
}

// saved are cursor and count of the job's row, and the number of rows up to that cursor that the
// ledger has.
func (b *bench) saved(j *sink.Job) (cursor string, processed, rows int64) {
	b.tb.Helper()
	row := b.pool.QueryRow(b.tb.Context(), `SELECT coalesce(b.cursor[1], ''), b.processed, (
			SELECT count(*) FROM wal2vec.ledger_product AS l WHERE l.product_id::text COLLATE "C" <= coalesce(b.cursor[1], '') COLLATE "C"
		) FROM wal2vec.backfill AS b WHERE id = $1`, j.ID())
	b.ok(row.Scan(&cursor, &processed, &rows))
	return cursor, processed, rows
}

func TestTheCursorMovesToTheEndOfWhatIsWrittenWithoutAGap(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.job(everything)
	chunks := chunksOf(j.Started(), 9, 3) // and an empty one
	commit := func(i int, cursor string, processed int64) {
		t.Helper()
		if result, err := j.Commit(t.Context(), chunks[i]); err != nil || result.Written != len(chunks[i].Changes) {
			t.Fatalf("chunk %d: %+v, %v", i, result, err)
		}
		if at, n, _ := b.saved(j); at != cursor || n != processed || j.Cursor() != change.Key(cursor) || j.Counts().Processed != processed {
			t.Errorf("after chunk %d the cursor is %q (%q) and %d rows are processed (%d), want %q and %d", i, at, j.Cursor(), n, j.Counts().Processed, cursor, processed)
		}
	}
	commit(1, "", 0)
	commit(3, "", 0) // that nothing follows
	if _, err := j.Sweep(t.Context()); err == nil {
		t.Fatal("it swept while a chunk was missing")
	}
	commit(0, "6", 6)
	if _, err := j.Sweep(t.Context()); err == nil {
		t.Fatal("it swept while a chunk was missing")
	}
	commit(2, "9", 9)
	if n, err := j.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if got := pgtest.One[string](t, b.db, "SELECT processed || ' ' || written || ' ' || outcome FROM wal2vec.backfill"); got != "9 9 swept" {
		t.Errorf("the job is %q", got)
	}
}

func TestWhatIsWrittenBehindAGapIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, process := range []string{"another", "the same"} {
		t.Run(process+" process", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			j := b.job(everything)
			chunks := chunksOf(j.Started(), 9, 3)
			for _, i := range []int{0, 2} {
				_, err := j.Commit(t.Context(), chunks[i])
				b.ok(err)
			}
			if at := j.Resume(); at != "3" {
				t.Errorf("it goes on behind %q", at)
			}
			if process == "another" {
				j.Close()
				j = b.job(everything)
			}
			if counts := j.Counts(); j.Resume() != "3" || counts != (sink.JobCounts{Processed: 3, Written: 3}) {
				t.Errorf("resumed behind %q with %+v", j.Resume(), counts)
			}
			// It reads other chunks.
			for _, c := range joined(behind(chunksOf(j.Started(), 9, 1), j.Resume())) {
				_, err := j.Commit(t.Context(), c)
				b.ok(err)
			}
			_, err := j.Sweep(t.Context())
			b.ok(err)
			if want := (sink.JobCounts{Processed: 9, Written: 6, Unchanged: 3}); j.Counts() != want {
				t.Errorf("counts %+v, want %+v", j.Counts(), want)
			}
			for key := 1; key <= 9; key++ {
				b.want(key, live(fmt.Sprint("text ", key), j.Started().LSN))
			}
		})
	}
}

// TestChunksDoNotWaitForOneAnother holds up a chunk by a row of its own.
func TestChunksDoNotWaitForOneAnother(t *testing.T) {
	t.Parallel()
	for name, partial := range map[string]change.LSN{"beside a stream": 0, "without a stream": 0x5000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			j := b.job(everything)
			chunks := chunksOf(j.Started(), 6, 2)
			for i := range chunks {
				chunks[i].PartialUntil, chunks[i].PartialAhead = partial, partial
			}
			tx, err := b.db.Conn(t).Begin(t.Context())
			b.ok(err)
			_, err = tx.Exec(t.Context(), "INSERT INTO wal2vec.ledger_product VALUES (1, 1, '0/1', NULL, true)")
			b.ok(err)
			first := make(chan error, 1)
			go func() {
				_, err := j.Commit(t.Context(), chunks[0])
				first <- err
			}()
			b.waiters()
			for _, c := range chunks[1:] {
				_, err := j.Commit(t.Context(), c)
				b.ok(err)
			}
			if at, n, _ := b.saved(j); at != "" || n != 0 {
				t.Errorf("the cursor is %q with %d rows, and the first chunk is not written", at, n)
			}
			b.ok(tx.Rollback(t.Context()))
			b.ok(<-first)
			if j.Cursor() != "6" || j.Counts().Processed != 6 {
				t.Errorf("the cursor is %q, %+v", j.Cursor(), j.Counts())
			}
		})
	}
}

func TestPartialUntilIsMovedForTheChunksThatFollow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.job(everything)
	chunks := chunksOf(j.Started(), 3, 1)
	until := func(i int, own, ahead, want change.LSN) {
		t.Helper()
		before := pgtest.One[string](t, b.db, "SELECT xmin::text FROM wal2vec.pipeline")
		chunks[i].PartialUntil, chunks[i].PartialAhead = own, ahead
		_, err := j.Commit(t.Context(), chunks[i])
		b.ok(err)
		after := pgtest.One[string](t, b.db, "SELECT xmin::text FROM wal2vec.pipeline")
		if got := b.state().PartialUntil; got != want || (before != after) != (i != 1) {
			t.Errorf("chunk %d: partial until %s, want %s; the row was written by %s, then by %s", i, got, want, before, after)
		}
	}
	until(0, 0x1500, 0x1700, 0x1700)
	until(1, 0x1600, 0x1700, 0x1700) // nothing to move
	until(2, 0x1800, 0, 0x1800)
	b.start(false)
	late := chunks[3]
	late.PartialUntil = 0x9000
	if _, err := j.Commit(t.Context(), late); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v in another epoch", err)
	}
	if got := b.state().PartialUntil; got != 0 {
		t.Errorf("partial until %s: a position of an epoch that is over", got)
	}
}

// TestATokenThatAnotherTakesStopsAChunk: also where a role's transactions would see nothing
// that happens after they begin.
func TestATokenThatAnotherTakesStopsAChunk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.db.Exec(t, "ALTER DATABASE "+b.db.Name+" SET default_transaction_isolation = 'repeatable read'")
	b.pool.Reset()
	j := b.job(everything)
	tx, err := b.db.Conn(t).Begin(t.Context()) // as OpenJob's: it holds the pipeline's row and takes the token
	b.ok(err)
	_, err = tx.Exec(t.Context(), "SELECT FROM wal2vec.pipeline FOR NO KEY UPDATE")
	b.ok(err)
	done := make(chan error, 1)
	go func() {
		_, err := b.chunk(j, j.Started(), upsert(1, 0, "one"))
		done <- err
	}()
	b.waiters()
	_, err = tx.Exec(t.Context(), "UPDATE wal2vec.backfill SET token = gen_random_uuid()")
	b.ok(err)
	b.ok(tx.Commit(t.Context()))
	if err := <-done; !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v", err)
	}
	b.want(1, "")
}

// passer writes chunks in a random order over several connections, some of which fail, until all
// are written or the job is lost.
type passer struct {
	*bench
	job    *sink.Job
	rng    *rand.Rand
	fails  int    // of a hundred
	before func() // each chunk
	check  func() // after each chunk
}

// pass writes what is missing once; it returns the first error.
func (p *passer) pass(ctx context.Context, chunks []protocol.Chunk) error {
	order := make(chan protocol.Chunk, len(chunks))
	for _, i := range p.rng.Perm(len(chunks)) {
		order <- chunks[i]
	}
	close(order)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wait sync.WaitGroup
	for range 4 {
		seed := p.rng.Uint64()
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for c := range order {
				if err := p.one(ctx, rng, c); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

var errCrash = errors.New("crash")

func (p *passer) one(ctx context.Context, rng *rand.Rand, c protocol.Chunk) error {
	if p.before != nil {
		p.before()
	}
	if rng.IntN(100) < p.fails {
		return errCrash // and what writes beside is cut off somewhere
	}
	if _, err := p.job.Commit(ctx, c); err != nil {
		return err
	}
	if p.check != nil {
		p.check()
	}
	return nil
}

func TestChunksInAnyOrderWithCrashesGiveWhatOneAfterAnotherGives(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.db.Exec(t, "INSERT INTO wal2vec.ledger_product SELECT 1000, epoch, '0/900', NULL, true FROM wal2vec.pipeline")
			stream := b.takeover()
			b.commit(stream, 0x1200, upsert(999, 0x1101, "gone from the source"), upsert(17, 0x1101, "before"))
			j := b.job(everything)
			b.commit(stream, 0x1400, upsert(5, 0x1301, "newer"), remove(6, 0x1301))
			p := &passer{bench: b, job: j, rng: rand.New(rand.NewPCG(seed, 1)), fails: 8, check: func() {
				if cursor, processed, rows := b.saved(j); processed > rows {
					t.Errorf("the cursor is %q after %d rows, and %d are there", cursor, processed, rows)
				}
			}}
			const keys = 60
			crashes := 0
			for size := 1; ; size++ {
				chunks := behind(chunksOf(j.Started(), keys, 1), p.job.Resume())
				if size%2 == 0 { // what is read again need not end where it did
					chunks = joined(chunks)
				}
				err := p.pass(t.Context(), chunks)
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				crashes++
				if crashes%3 == 0 {
					p.job.Close()
					p.job = b.job(everything)
				}
			}
			if crashes == 0 {
				t.Error("nothing crashed")
			}
			n, err := p.job.Sweep(t.Context())
			if err != nil || n != 1 {
				t.Errorf("swept %d, %v", n, err)
			}
			if c := p.job.Counts(); c.Processed != keys || c.Written+c.Unchanged+c.Superseded != keys || c.Superseded != 2 {
				t.Errorf("counts %+v", c)
			}
			if got := pgtest.One[int64](t, b.db, "SELECT processed FROM wal2vec.backfill"); got != keys {
				t.Errorf("%d rows are processed", got)
			}
			for key := 1; key <= keys; key++ {
				want := live(fmt.Sprint("text ", key), j.Started().LSN)
				switch key {
				case 5:
					want = live("newer", 0x1301)
				case 6:
					want = dead(0x1301)
				}
				b.want(key, want)
			}
			b.want(999, dead(j.Started().LSN))
		})
	}
}

// joined joins each two chunks.
func joined(chunks []protocol.Chunk) []protocol.Chunk {
	var out []protocol.Chunk
	for pair := range slices.Chunk(chunks, 2) {
		c := pair[0]
		for _, next := range pair[1:] {
			c.Changes = slices.Concat(c.Changes, next.Changes)
			c.Encodings = encoded(vectorsOf(dimension, c.Changes...), nil)
			c.Cursor = next.Cursor
		}
		out = append(out, c)
	}
	return out
}

func TestALostTokenStopsEveryWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.job(everything)
	chunks := chunksOf(first.Started(), 40, 1)
	taken := make(chan struct{})
	var half, lost sync.WaitGroup
	half.Add(4)
	var mu sync.Mutex
	var errs []error
	for _, part := range [][]protocol.Chunk{chunks[:10], chunks[10:20], chunks[20:30], chunks[30:]} {
		lost.Go(func() {
			for i, c := range part {
				if i == 5 {
					half.Done()
					<-taken
				}
				if _, err := first.Commit(t.Context(), c); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	half.Wait()
	first.Close() // the holder's session ends, its writers go on
	second := b.job(everything)
	close(taken)
	lost.Wait()
	if len(errs) != 4 {
		t.Errorf("%d of 4 writers stopped", len(errs))
	}
	for _, err := range errs {
		if !errors.Is(err, protocol.ErrJobLost) {
			t.Errorf("got %v", err)
		}
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product"); n != 20 {
		t.Errorf("%d rows were written, 20 before the job was lost", n)
	}
	for _, c := range behind(chunks, second.Resume()) {
		_, err := second.Commit(t.Context(), c)
		b.ok(err)
	}
	if c := second.Counts(); c.Processed != 40 {
		t.Errorf("counts %+v", c)
	}
}

// TestATruncateDuringParallelMergesLeavesNothingOlder: a chunk is written before the TRUNCATE,
// which deletes it, or is to be read again.
func TestATruncateDuringParallelMergesLeavesNothingOlder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	j := b.job(everything)
	a := j.Started()
	var mu sync.Mutex
	begun := 0
	p := &passer{bench: b, job: j, rng: rand.New(rand.NewPCG(1, 1)), before: func() {
		mu.Lock()
		begun++
		truncates := begun == 20
		mu.Unlock()
		if truncates { // beside the others, and before a chunk
			if err := stream.Commit(t.Context(), change.Commit{Truncated: a.LSN + 0x101, Watermark: a.LSN + 0x200}); err != nil {
				t.Error(err)
			}
		}
	}}
	if err := p.pass(t.Context(), chunksOf(a, 60, 1)); !errors.Is(err, protocol.ErrChunkStale) {
		t.Errorf("got %v", err)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE NOT deleted"); n != 0 {
		t.Errorf("%d rows outlived the TRUNCATE", n)
	}
	// Read again, the table has ten rows.
	b.ok(p.pass(t.Context(), behind(chunksOf(b.version(), 10, 1), j.Resume())))
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE NOT deleted AND lsn < $1::text::pg_lsn", (a.LSN + 0x101).String()); n != 0 {
		t.Errorf("%d rows are older than the TRUNCATE", n)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.vectors_product_1 AS v JOIN wal2vec.ledger_product AS l USING (product_id) WHERE l.deleted"); n != 0 {
		t.Errorf("%d vectors belong to no row", n)
	}
}

// TestANewEpochStopsEveryWriter: what was read in the old one is written by no process.
func TestANewEpochStopsEveryWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	j := b.job(everything)
	begun := 0
	var mu sync.Mutex
	p := &passer{bench: b, job: j, rng: rand.New(rand.NewPCG(1, 1)), before: func() {
		mu.Lock()
		defer mu.Unlock()
		if begun++; begun == 20 {
			b.start(false)
		}
	}}
	if err := p.pass(t.Context(), chunksOf(j.Started(), 60, 1)); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v", err)
	}
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product"); n > 23 {
		t.Errorf("%d rows of the old epoch were written", n)
	}
}
