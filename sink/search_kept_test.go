package sink_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// wire counts what goes over the connections of a pool: how often a client that has sent something
// waits for an answer, and how often the tables are looked at as a whole.
type wire struct{ turns, looks atomic.Int64 }

// turning is a connection that counts into its wire.
type turning struct {
	net.Conn
	wire *wire
	sent atomic.Bool
}

func (c *turning) Write(p []byte) (int, error) {
	c.sent.Store(true)
	return c.Conn.Write(p)
}

func (c *turning) Read(p []byte) (int, error) {
	if c.sent.Swap(false) {
		c.wire.turns.Add(1)
	}
	return c.Conn.Read(p)
}

// TraceQueryStart counts the looks of Trusted, which stands in every opening.
func (w *wire) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "pg_catalog.pg_statistic_ext") {
		w.looks.Add(1)
	}
	return ctx
}

func (*wire) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// wired is the sink over a pool of so many connections, which are counted.
func (b *bench) wired(connections int32) (*sink.Sink, *wire) {
	b.tb.Helper()
	w := &wire{}
	config, err := pgxpool.ParseConfig(b.db.DSN)
	b.ok(err)
	config.MaxConns = connections
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // after a second without use
	config.ConnConfig.Tracer = w
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &turning{Conn: conn, wire: w}, err
	}
	pool, err := pgxpool.NewWithConfig(b.tb.Context(), config)
	b.ok(err)
	b.tb.Cleanup(pool.Close)
	return newSink(pool, "product"), w
}

func TestASearchIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	changes := b.fill(stream, 30)
	over, w := b.wired(1)
	searcher := over.NewSearcher()
	turns := func(k int) int64 {
		t.Helper()
		before := w.turns.Load()
		got, err := searcher.Search(t.Context(), sink.Query{Vector: vectorOf(dimension, changes[7].Document.Hash), K: k})
		b.ok(err)
		if got.Hits[0].Key != changes[7].Key || len(got.Hits) != min(k, 30) {
			t.Errorf("found %+v", got)
		}
		return w.turns.Load() - before
	}
	turns(31) // opens, and prepares the statements of both transactions
	looks := w.looks.Load()
	if got := turns(5); got != 1 {
		t.Errorf("a search took %d round trips", got)
	}
	if got := turns(31); got != 2 {
		t.Errorf("a search that finds fewer rows took %d round trips, and not one for each transaction", got)
	}
	// What changes nothing that is kept: rows, their statistics, an index.
	b.commit(stream, 0x1300, upsert(100, 0x1201, "one more"))
	b.db.Exec(t, "VACUUM ANALYZE")
	b.db.Exec(t, "CREATE INDEX ON wal2vec.vectors_product_1 (updated_at)")
	before := w.turns.Load()
	got, err := searcher.Search(t.Context(), sink.Query{Vector: vectorOf(dimension, change.HashText("one more")), K: 5})
	b.ok(err)
	if got.Watermark != 0x1300 || got.Hits[0].Key != change.KeyOf("100") {
		t.Errorf("found %+v", got)
	}
	if n := w.turns.Load() - before; n != 1 || w.looks.Load() != looks {
		t.Errorf("after them a search took %d round trips, and %d looks at the tables", n, w.looks.Load()-looks)
	}
}

// TestSearchesThatBeginTogetherOpenOnce.
func TestSearchesThatBeginTogetherOpenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(b.takeover(), 30)
	const searches = 8
	over, w := b.wired(searches)
	searcher := over.NewSearcher()
	search := func() {
		var group sync.WaitGroup
		for range searches {
			group.Go(func() {
				got, err := searcher.Search(t.Context(), sink.Query{Vector: vectorOf(dimension, change.HashText("product 7")), K: 1})
				if err != nil || got.Hits[0].Key != change.KeyOf("7") {
					t.Errorf("found %+v, %v", got, err)
				}
			})
		}
		group.Wait()
	}
	search()
	if n := w.looks.Load(); n != 1 {
		t.Errorf("%d searches looked at the tables %d times", searches, n)
	}
	b.db.Exec(t, "COMMENT ON TABLE wal2vec.pipeline IS 'no part of it'; GRANT SELECT ON wal2vec.pipeline TO pg_monitor")
	search()
	if n := w.looks.Load(); n != 2 {
		t.Errorf("after a change they looked %d times", n-1)
	}
}

// sameAsNew compares the answer of a searcher that keeps what it knew with that of one that knows
// nothing.
func (b *bench) sameAsNew(searcher *sink.Searcher, q sink.Query) (sink.Result, error) {
	b.tb.Helper()
	got, err := searcher.Search(b.tb.Context(), q)
	want, wantErr := b.sink.NewSearcher().Search(b.tb.Context(), q)
	if fmt.Sprintf("%+v %v", got, err) != fmt.Sprintf("%+v %v", want, wantErr) {
		b.tb.Errorf("found %+v, %v; one that knew nothing %+v, %v", got, err, want, wantErr)
	}
	return got, err
}

// keptCase is what comes between two searches of one Searcher, and how the second one ends.
type keptCase struct {
	between func(*bench)
	then    sink.Query
	want    func(*bench, *sink.Searcher, sink.Query)
}

func keptRow() change.Change { return upsert(1, 0x1101, "one") }

// keptQuery is for the row in a generation of so many dimensions; zero asks for the one that is
// active.
func keptQuery(dimensions, generation int) sink.Query {
	return sink.Query{Vector: vectorOf(dimensions, keptRow().Document.Hash), K: 1, Generation: generation}
}

// found wants one row of the text, by a generation and a watermark.
func found(key string, generation int, w change.LSN) func(*bench, *sink.Searcher, sink.Query) {
	return func(b *bench, s *sink.Searcher, q sink.Query) {
		b.tb.Helper()
		got, err := b.sameAsNew(s, q)
		b.ok(err)
		if len(got.Hits) != 1 || got.Hits[0].Key != change.KeyOf(key) || got.Hits[0].Score < 0.999 || got.Generation.ID != generation || got.Watermark != w {
			b.tb.Errorf("found %+v", got)
		}
	}
}

// refused wants an error of kind Usage.
func refused(says string) func(*bench, *sink.Searcher, sink.Query) {
	return func(b *bench, s *sink.Searcher, q sink.Query) {
		b.tb.Helper()
		_, err := b.sameAsNew(s, q)
		b.wantKind(err, fault.Usage)
		if err == nil || !strings.Contains(err.Error(), says) {
			b.tb.Errorf("got %v", err)
		}
	}
}

// activateSecond adds a generation of another dimension with the row, and activates it.
func activateSecond(b *bench) {
	g := b.build(second())
	b.filled(g, keptRow())
	_, err := b.sink.Activate(b.tb.Context(), sink.Activation{ID: g.ID})
	b.ok(err)
}

// madeAgain tears the pipeline down and sets it up with another row of the same text.
func (b *bench) madeAgain(p sink.Pipeline, key string) {
	b.ok(b.sink.Teardown(b.tb.Context()))
	b.init(p, generation(dimension))
	b.commit(b.takeover(), 0x1300, change.Change{Key: change.KeyOf(key), LSN: 0x1201, Document: keptRow().Document})
}

// keptGenerations are cases in which the generations change.
func keptGenerations() map[string]keptCase {
	return map[string]keptCase{
		"a generation is activated": {activateSecond, keptQuery(dimension, 1), func(b *bench, s *sink.Searcher, q sink.Query) {
			_, err := b.sameAsNew(s, q)
			if other, is := errors.AsType[*sink.OtherGenerationError](err); !is || other.Active.ID != 2 {
				b.tb.Errorf("got %#v, want an OtherGenerationError of 2", err)
			}
		}},
		"a generation is activated, of which the query is": {activateSecond, keptQuery(wide, 2), found("1", 2, 0x1200)},
		"the generation that was active is retired": {func(b *bench) {
			activateSecond(b)
			_, err := b.sink.Retire(b.tb.Context(), 1)
			b.ok(err)
		}, keptQuery(wide, 0), found("1", 2, 0x1200)},
		"a generation is activated, and the query has its dimension alone": {activateSecond, keptQuery(wide, 0), found("1", 2, 0x1200)},
	}
}

// keptPipelines are cases in which the pipeline or its schema is another.
func keptPipelines() map[string]keptCase {
	narrow, text := keptQuery(dimension, 0), productPipeline()
	text.Table.Key = []change.Column{{Name: "product_id", Type: "text"}}
	return map[string]keptCase{
		"torn down, and made again": {func(b *bench) {
			b.madeAgain(productPipeline(), "2")
		}, narrow, found("2", 1, 0x1300)},
		"torn down, and made again with another key": {func(b *bench) {
			b.madeAgain(text, "b")
		}, narrow, found("b", 1, 0x1300)},
		"torn down beside another pipeline, and made again": {func(b *bench) {
			p := productPipeline()
			p.Slot, p.Publication = "other", "other"
			b.ok(newSink(b.pool, "other").Register(b.tb.Context(), p))
			b.madeAgain(productPipeline(), "2")
		}, narrow, found("2", 1, 0x1300)},
		"torn down": {func(b *bench) { b.ok(b.sink.Teardown(b.tb.Context())) }, narrow, refused("not set up")},
		"the schema is migrated": {func(b *bench) {
			b.db.Exec(b.tb, "INSERT INTO wal2vec.schema_version (version, name) SELECT max(version) + 1, 'later' FROM wal2vec.schema_version")
		}, narrow, refused("this wal2vec knows")},
		"the pipeline's row is gone": {func(b *bench) {
			b.db.Exec(b.tb, "DELETE FROM wal2vec.shape; DELETE FROM wal2vec.stream_state; DELETE FROM wal2vec.generation; DELETE FROM wal2vec.pipeline")
		}, narrow, refused("does not exist")},
		"the generations are counted on": {func(b *bench) {
			b.db.Exec(b.tb, "UPDATE wal2vec.generation SET state = 'previous'; UPDATE wal2vec.pipeline SET generations = generations + 1")
		}, narrow, refused("no generation is active")},
		"pgvector has moved": {func(b *bench) {
			b.db.Exec(b.tb, "CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
		}, narrow, found("1", 1, 0x1200)},
	}
}

// keptTables are cases in which something of the tables is another role's, or hangs on them.
func keptTables() map[string]keptCase {
	narrow := keptQuery(dimension, 0)
	return map[string]keptCase{
		"a table is another role's": {func(b *bench) {
			b.db.Exec(b.tb, "ALTER TABLE wal2vec.backfill OWNER TO "+b.account("").name)
		}, narrow, refused("belongs to role")},
		"the schema is another role's": {func(b *bench) {
			b.db.Exec(b.tb, "ALTER SCHEMA wal2vec OWNER TO "+b.account("").name)
		}, narrow, refused("belongs to role")},
		"a policy": {func(b *bench) {
			b.db.Exec(b.tb, "CREATE POLICY more ON wal2vec.pipeline USING (true)")
		}, narrow, refused("policy")},
		"a trigger": {func(b *bench) {
			b.db.Exec(b.tb, "CREATE TRIGGER t BEFORE UPDATE ON wal2vec.vectors_product_1 FOR EACH ROW EXECUTE FUNCTION hang.fires()")
		}, narrow, refused("trigger")},
		"a rule": {func(b *bench) {
			b.db.Exec(b.tb, "CREATE RULE r AS ON UPDATE TO wal2vec.vectors_product_1 DO INSTEAD NOTHING")
		}, narrow, refused("rule")},
		"a child": {func(b *bench) {
			b.db.Exec(b.tb, "CREATE TABLE public.child () INHERITS (wal2vec.vectors_product_1)")
		}, narrow, refused("child")},
		"a right to make a trigger": {func(b *bench) {
			b.db.Exec(b.tb, "GRANT TRIGGER ON wal2vec.vectors_product_1 TO "+b.account("").name)
		}, narrow, refused("TRIGGER")},
	}
}

// TestAKeptLayoutIsComparedWithTheTables: each of these comes between two searches, and the second
// answers as one that knew nothing.
func TestAKeptLayoutIsComparedWithTheTables(t *testing.T) {
	t.Parallel()
	cases := keptGenerations()
	maps.Copy(cases, keptPipelines())
	maps.Copy(cases, keptTables())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.commit(b.takeover(), 0x1200, keptRow())
			// The table's own row in the catalogue keeps that something hung on it once, and is not
			// written again by what comes later.
			b.db.Exec(t, `CREATE SCHEMA hang; CREATE FUNCTION hang.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
				CREATE TRIGGER t BEFORE UPDATE ON wal2vec.vectors_product_1 FOR EACH ROW EXECUTE FUNCTION hang.fires();
				DROP TRIGGER t ON wal2vec.vectors_product_1; CREATE RULE r AS ON UPDATE TO wal2vec.vectors_product_1 DO INSTEAD NOTHING;
				DROP RULE r ON wal2vec.vectors_product_1; CREATE TABLE hang.child () INHERITS (wal2vec.vectors_product_1); DROP TABLE hang.child`)
			over, w := b.wired(1)
			searcher := over.NewSearcher()
			got, err := searcher.Search(t.Context(), keptQuery(dimension, 0))
			b.ok(err)
			if len(got.Hits) != 1 || got.Hits[0].Key != keptRow().Key {
				t.Fatalf("found %+v", got)
			}
			looks := w.looks.Load()
			c.between(b)
			c.want(b, searcher, c.then)
			if n := w.looks.Load() - looks; n != 1 {
				t.Errorf("it looked at the tables %d times", n)
			}
		})
	}
}

// TestASearchRunsNothingOfATableThatTookAnothersPlace: what a role puts there after the first
// search is not read, as no role that searches.
func TestASearchRunsNothingOfATableThatTookAnothersPlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	stranger, reader := b.maker(), b.account("SUPERUSER")
	q := sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1}
	searcher := b.as(reader.name, reader.password).NewSearcher()
	_, err := searcher.Search(t.Context(), q)
	b.ok(err)
	b.trap()
	b.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO "+stranger.name+"; GRANT SELECT ON ALL TABLES IN SCHEMA wal2vec TO "+stranger.name)
	b.db.Exec(t, "ALTER TABLE wal2vec.vectors_product_1 RENAME TO away")
	b.plant(stranger, "CREATE VIEW wal2vec.vectors_product_1 AS SELECT a.* FROM wal2vec.away AS a WHERE trap.spring()")
	b.db.Exec(t, "ALTER SCHEMA wal2vec OWNER TO CURRENT_USER")
	_, err = searcher.Search(t.Context(), q)
	if _, is := errors.AsType[*sink.UntrustedError](err); !is {
		t.Errorf("got %v", err)
	}
	if loot := b.loot(); len(loot) != 0 {
		t.Errorf("the planted function ran as %q", loot)
	}
}

// TestARoleThatIsTrustedNoMoreIsNoticed: nothing of the tables themselves has changed.
func TestARoleThatIsTrustedNoMoreIsNoticed(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	admin, reader := b.maker(), b.account("")
	b.sink = b.as(admin.name, admin.password)
	b.init(productPipeline(), generation(dimension))
	b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: reader.name, Access: sink.Read}))
	searcher := b.trusting(admin.name, reader.name, reader.password).NewSearcher()
	q := sink.Query{Vector: vectorOf(dimension, change.HashText("one")), K: 1}
	_, err := searcher.Search(t.Context(), q)
	b.ok(err)
	renamed := admin.name + "_former"
	b.db.Exec(t, "ALTER ROLE "+admin.name+" RENAME TO "+renamed)
	t.Cleanup(func() { b.db.Exec(t, "ALTER ROLE "+renamed+" RENAME TO "+admin.name) })
	_, err = searcher.Search(t.Context(), q)
	if _, is := errors.AsType[*sink.UntrustedError](err); !is {
		t.Errorf("got %v", err)
	}
}

// TestATableThatIsReplacedInTheMiddleOfASearchIsNoticed: the search has begun, and waits for who
// puts another role's table in the place of the one that it knows, with rows from before.
func TestATableThatIsReplacedInTheMiddleOfASearchIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	q := sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1}
	role, password := b.db.Role(t, "SUPERUSER") // a session of its own, to see it wait
	searcher := b.as(role, password).NewSearcher()
	_, err := searcher.Search(t.Context(), q)
	b.ok(err)
	b.db.Exec(t, "CREATE TABLE wal2vec.spare (LIKE wal2vec.vectors_product_1 INCLUDING ALL); INSERT INTO wal2vec.spare SELECT 2, text_hash, embedding "+
		"FROM wal2vec.vectors_product_1; ALTER TABLE wal2vec.spare OWNER TO "+b.account("").name)
	tx, err := b.pool.Begin(t.Context())
	b.ok(err)
	for _, statement := range []string{
		"ALTER TABLE wal2vec.vectors_product_1 RENAME TO away", "ALTER TABLE wal2vec.spare RENAME TO vectors_product_1",
	} {
		_, err := tx.Exec(t.Context(), statement)
		b.ok(err)
	}
	type answer struct {
		sink.Result
		err error
	}
	done := make(chan answer, 1)
	go func() {
		got, err := searcher.Search(t.Context(), q)
		done <- answer{got, err}
	}()
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'", role)
		return n > 0, "the search does not wait"
	})
	b.ok(tx.Commit(t.Context()))
	got := <-done
	if _, is := errors.AsType[*sink.UntrustedError](got.err); !is {
		t.Errorf("found %+v, %v", got.Result, got.err)
	}
}

// TestSearchesGoOnWhileGenerationsAreActivated: several at once by one Searcher. Each finds its own
// text with score 1 in the generation that the answer names, which no vector of the other one is
// like.
func TestSearchesGoOnWhileGenerationsAreActivated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var rows []change.Change
	for key := range 20 {
		rows = append(rows, upsert(key, 0x1101, fmt.Sprintf("product %d", key)))
	}
	b.commit(b.takeover(), 0x1200, rows...)
	b.filled(b.build(second()), rows...)
	over, _ := b.wired(4)
	searcher := over.NewSearcher()
	const searchers, searches, activations = 4, 30, 10
	_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.ok(err)
	var activated atomic.Int64
	answered := make(chan struct{}, 1)
	var read [3]atomic.Int64
	var group sync.WaitGroup
	for i := range searchers {
		group.Go(func() {
			active, dimensions := 1, [3]int{0, dimension, wide}
			for n := 0; n < searches || activated.Load() < activations; {
				wanted := rows[(n+i)%len(rows)]
				got, err := searcher.Search(t.Context(), sink.Query{Vector: vectorOf(dimensions[active], wanted.Document.Hash), K: 3, Generation: active})
				if other, is := errors.AsType[*sink.OtherGenerationError](err); is {
					active = other.Active.ID
					continue
				}
				if err != nil || got.Generation.ID != active || len(got.Hits) != 3 || got.Hits[0].Key != wanted.Key || got.Hits[0].Score < 0.999 {
					t.Errorf("generation %d finds %+v, %v", active, got, err)
					return
				}
				n++
				read[active].Add(1)
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
	}
	go func() {
		group.Wait()
		close(answered)
	}()
	for range answered { // after each activation a search has to answer before the next one
		if _, err := b.sink.Activate(t.Context(), sink.Activation{}); err != nil { // the other one
			t.Errorf("activating: %v", err)
		}
		activated.Add(1)
	}
	if read[1].Load() == 0 || read[2].Load() == 0 {
		t.Errorf("generations were read %d and %d times", read[1].Load(), read[2].Load())
	}
}

// TestASearchThatIsCalledOffLeavesTheSearcherFitForOthers: also one that opens, or waits for
// another that does.
func TestASearchThatIsCalledOffLeavesTheSearcherFitForOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	q := sink.Query{Vector: vectorOf(dimension, one.Document.Hash), K: 1}
	role, password := b.db.Role(t, "SUPERUSER")
	searcher := b.as(role, password).NewSearcher()
	tx, err := b.pool.Begin(t.Context())
	b.ok(err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE wal2vec.pipeline")
	b.ok(err)
	opening, callOff := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range cap(done) {
		go func() {
			_, err := searcher.Search(opening, q)
			done <- err
		}()
	}
	pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'", role)
		return n > 0, "no search waits"
	})
	callOff()
	for range cap(done) {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	b.ok(tx.Rollback(t.Context()))
	got, err := searcher.Search(t.Context(), q)
	if err != nil || len(got.Hits) != 1 {
		t.Errorf("found %+v, %v", got, err)
	}
}
