package sink

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
)

// IndexState is how the index of a generation's vectors is.
type IndexState string

// The states. An invalid index is what a build that was cut off leaves.
const (
	IndexMissing  IndexState = "missing"
	IndexBuilding IndexState = "building"
	IndexInvalid  IndexState = "invalid"
	IndexValid    IndexState = "valid"
)

// Index is the HNSW index of a generation's vectors.
type Index struct {
	State IndexState
	// Name and Bytes are empty where there is none.
	Name  string
	Bytes int64

	invalid []string
	// building is true while a session, as far as this role sees, builds an index of the table.
	building bool
}

// IndexProgress is how far the building of an index is.
type IndexProgress struct {
	// Phase is the server's word, or why nothing happens yet.
	Phase string
	// Done and Total count what Unit says, as the phase has it; zero when the server does not say.
	Done, Total int64
	Unit        string
	// Blocker is the process id of the session that is waited for; zero when there is none.
	Blocker int32
}

// Index looks at the index of a generation. Another role may see one that is being built as
// invalid.
func (s *Sink) Index(ctx context.Context, g Generation) (Index, error) {
	return s.inspectIndex(ctx, s.pool, g)
}

func (s *Sink) indexState(ctx context.Context, q querier, g Generation) (IndexState, error) {
	index, err := s.inspectIndex(ctx, q, g)
	return index.State, err
}

func (s *Sink) inspectIndex(ctx context.Context, q querier, g Generation) (Index, error) {
	found := Index{State: IndexMissing}
	rows, err := q.Query(ctx, s.query("index_inspect"), pgname.Catalogue(s.schema, g.Table), int64(s.lockClass("index")), int64(indexKey(g)),
		g.Storage.operatorClass())
	if err != nil {
		return found, s.explain(err, "looking for the index of a generation")
	}
	var name *string
	var valid *bool
	var bytes *int64
	var locked bool
	_, err = pgx.ForEachRow(rows, []any{&name, &valid, &bytes, &found.building, &locked}, func() error {
		if name != nil && valid == nil {
			return fault.New(fault.Usage, mayAsk, "the sink names an index without its state")
		}
		if name != nil && bytes == nil { // dropped while it was looked at
			name = nil
		}
		if name != nil && !*valid {
			found.invalid = append(found.invalid, *name)
		}
		if name != nil && found.Name == "" {
			found.State, found.Name, found.Bytes = IndexInvalid, *name, *bytes
			if *valid {
				found.State = IndexValid
			}
		}
		if (found.building || locked) && found.State != IndexValid {
			found.State = IndexBuilding
		}
		return nil
	})
	if err != nil {
		return found, s.explain(err, "looking for the index of a generation")
	}
	return found, nil
}

// indexKey is the second key of the advisory lock that who builds a generation's index holds.
func indexKey(g Generation) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(g.Table)) // never fails
	return int32(h.Sum32() & 0x7fffffff)
}

// indexInterval is how often the progress of a build is asked for, and whether another process is
// done with it.
const indexInterval = 500 * time.Millisecond

// BuildIndex builds the HNSW index of a generation beside writers, unless a valid one is there.
// What a build that was cut off has left is dropped first. Of several processes one builds, and the
// others return when it has. Beside writers it waits for the transactions that are open when it
// begins; the index of a small table keeps writers waiting instead, for a second or two. progress
// is called now and then, by one goroutine; it may be nil.
//
// An error of kind fault.Usage says that this role may not: only a table's owner makes its indexes.
func (s *Sink) BuildIndex(ctx context.Context, g Generation, progress func(IndexProgress)) error {
	if progress == nil {
		progress = func(IndexProgress) {}
	}
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return err
	}
	extension, err := s.extension(ctx, s.pool)
	if err != nil {
		return err
	}
	index, err := s.Index(ctx, g)
	if err != nil || index.State == IndexValid {
		return err
	}
	b := &indexBuild{sink: s, generation: g, progress: progress, tables: s.tablesOf(st.Table.Key).forGeneration(s, g, extension.schema)}
	if err := b.connect(ctx); err != nil {
		return err
	}
	defer b.close(ctx)
	if err := b.run(ctx); err != nil {
		if fault.SQLSTATE(err) == "42501" {
			return fault.Wrap(err, fault.Usage, initCommand+", as the role that owns the tables of wal2vec", "building the index of generation %d", g.ID)
		}
		return fmt.Errorf("building the index of generation %d: %w", g.ID, err)
	}
	return nil
}

// indexBuild builds one index over a session of its own, whose settings and lock end with it.
type indexBuild struct {
	sink       *Sink
	generation Generation
	progress   func(IndexProgress)
	tables     tables
	conn       *pgx.Conn
}

func (b *indexBuild) connect(ctx context.Context) error {
	config := b.sink.pool.Config().ConnConfig
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		// pgvector says so when its graph outgrows the memory.
		b.sink.log.Warn().Int("generation", b.generation.ID).Str("notice", n.Message).Msg("building an index (sink.index_memory gives it more memory)")
	}
	var err error
	b.conn, err = connect(ctx, config)
	return err
}

func (b *indexBuild) close(ctx context.Context) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = b.conn.Close(ctx)
}

func (b *indexBuild) run(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	index, err := b.settled(ctx)
	if err != nil || index.State == IndexValid {
		return err
	}
	for _, name := range index.invalid {
		b.sink.log.Info().Str("index", name).Msg("dropping an index that is not valid")
		if err := b.drop(ctx, b.conn, name); err != nil {
			return err
		}
	}
	size, err := b.size(ctx)
	if err != nil {
		return err
	}
	b.sink.log.Info().Int("generation", b.generation.ID).Int64("memory_bytes", size.memory).Int("workers", size.workers).Msg("building an index")
	err = b.create(ctx, size)
	if isOutOfMemory(err) && size.workers > 0 {
		// The workers share memory through a file system that a container keeps small; a process
		// alone needs none of it.
		b.sink.log.Warn().Err(err).Msg("building an index again without parallel workers")
		size.workers = 0
		if err := b.drop(ctx, b.conn, b.generation.Table+"_hnsw"); err != nil {
			return err
		}
		err = b.create(ctx, size)
	}
	if fault.SQLSTATE(err) == lockNotAvailable && !size.beside { // somebody holds the table: rather beside him than in his way
		size.beside = true
		err = b.create(ctx, size)
	}
	if err != nil {
		b.clear(ctx)
	}
	return err
}

// smallPatience is how long writers of a small table may be kept waiting for its lock.
const smallPatience = "5s"

// begin takes the lock. It asks again and again: a statement that waited would hold back the build
// that it waits for, which waits in turn for every older statement.
func (b *indexBuild) begin(ctx context.Context) error {
	for {
		var locked bool
		row := b.conn.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1, $2)", b.sink.lockClass("index"), indexKey(b.generation))
		if err := row.Scan(&locked); err != nil || locked {
			return err
		}
		if err := b.pause(ctx, "waiting for another process that builds it"); err != nil {
			return err
		}
	}
}

// settled looks at the index once no person builds one by hand, which the lock does not tell.
func (b *indexBuild) settled(ctx context.Context) (Index, error) {
	for {
		index, err := b.sink.inspectIndex(ctx, b.conn, b.generation)
		if err != nil || !index.building {
			return index, err
		}
		if err := b.pause(ctx, "waiting for an index that somebody builds"); err != nil {
			return index, err
		}
	}
}

// pause reports why nothing happens, and waits.
func (b *indexBuild) pause(ctx context.Context, why string) error {
	b.progress(IndexProgress{Phase: why})
	return pause.For(ctx, indexInterval)
}

// indexSize is what a build may use.
type indexSize struct {
	memory  int64
	workers int
	beside  bool // writers, which wait for a small table's
}

const (
	// A node of the graph takes its vector and this many bytes: 712 without, 820 with parallel
	// workers (measured: pgvector 0.8.5, m = 16).
	indexNode = 850
	// indexSlack is added to what the nodes take.
	indexSlack = 16 << 20
	// vectorRow is the least that a row of a vector table takes beside its vector.
	vectorRow = 60
)

// size asks how many rows there are at most, and what the server can give.
func (b *indexBuild) size(ctx context.Context) (indexSize, error) {
	var bytes, now, most int64
	size := indexSize{}
	row := b.conn.QueryRow(ctx, b.sink.query("index_limits"), b.tables.Vectors)
	if err := row.Scan(&bytes, &now, &most, &size.workers); err != nil {
		return size, fmt.Errorf("reading the server's settings: %w", err)
	}
	g := b.generation
	size.beside = g.rowsOf(bytes) >= IndexRows
	needed := g.rowsOf(bytes)*(int64(g.Dimension)*g.Storage.size()+indexNode) + indexSlack
	switch {
	case b.sink.indexMemory > 0:
		size.memory = b.sink.indexMemory
	case needed > most:
		size.memory = most
		b.sink.log.Warn().Int64("memory_bytes", most).Int64("needed_bytes", needed).
			Msg("the index does not fit the memory that the server's settings suggest, and takes longer: sink.index_memory gives it more")
	default:
		size.memory = max(needed, now)
	}
	return size, nil
}

// rowsOf is the most rows that a vector table of so many bytes has.
func (g Generation) rowsOf(bytes int64) int64 {
	return bytes / (int64(g.Dimension)*g.Storage.size() + vectorRow)
}

// size is the bytes of a component.
func (s Storage) size() int64 {
	if s == HalfVec {
		return 2
	}
	return 4
}

// create runs the statement and reports on it in the meantime.
func (b *indexBuild) create(ctx context.Context, size indexSize) error {
	const kibibyte = 1 << 10
	patience := "0"
	if !size.beside {
		patience = smallPatience
	}
	_, err := b.conn.Exec(ctx, b.sink.query("index_settings"), strconv.FormatInt(size.memory/kibibyte, 10)+"kB", strconv.Itoa(size.workers), patience)
	if err != nil {
		return fmt.Errorf("setting the memory: %w", err)
	}
	failpoint.Hit("index_begun")
	pid := b.conn.PgConn().PID()
	group, working := errgroup.WithContext(ctx)
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		t := b.tables
		t.Beside = size.beside
		return statement.Run(working, b.conn, render("vectors_index_create", t))
	})
	group.Go(func() error {
		b.watch(working, pid, done)
		return nil
	})
	return group.Wait()
}

// watch reports until the build is done. A report that cannot be had is left out.
func (b *indexBuild) watch(ctx context.Context, pid uint32, done <-chan struct{}) {
	ticker := time.NewTicker(indexInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-ticker.C:
		}
		if p, err := b.look(ctx, pid); err == nil {
			b.progress(p)
		}
	}
}

func (b *indexBuild) look(ctx context.Context, pid uint32) (IndexProgress, error) {
	var p IndexProgress
	var blocks, blocksTotal, tuples, tuplesTotal, lockers, lockersTotal int64
	row := b.sink.pool.QueryRow(ctx, b.sink.query("index_progress"), int64(pid))
	if err := row.Scan(&p.Phase, &blocks, &blocksTotal, &tuples, &tuplesTotal, &lockers, &lockersTotal, &p.Blocker); err != nil {
		return p, err
	}
	switch {
	case lockersTotal > 0 && lockers < lockersTotal:
		p.Done, p.Total, p.Unit = lockers, lockersTotal, "transactions"
	case blocksTotal > 0:
		p.Done, p.Total, p.Unit = blocks, blocksTotal, "blocks"
	case tuplesTotal > 0:
		p.Done, p.Total, p.Unit = tuples, tuplesTotal, "rows"
	default:
		p.Done = tuples
	}
	return p, nil
}

// drop drops an index of the vectors by its name, without waiting for readers under a lock that
// keeps others out.
func (b *indexBuild) drop(ctx context.Context, q querier, name string) error {
	t := b.tables
	t.VectorsIndex = pgname.Catalogue(b.sink.schema, name)
	if err := statement.Run(ctx, q, render("vectors_index_drop", t)); err != nil {
		return fmt.Errorf("dropping the index %q, which is not valid: %w", name, err)
	}
	return nil
}

// clear takes away what a build that failed has left, if that is quickly done: an index that is not
// valid costs every writer as much as one that is. The next build does it otherwise. One that is
// valid stays: the build may have ended in the moment in which it was called off, or its answer was
// lost.
func (b *indexBuild) clear(ctx context.Context) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	name := b.generation.Table + "_hnsw"
	if index, err := b.sink.inspectIndex(ctx, b.sink.pool, b.generation); err == nil && !slices.Contains(index.invalid, name) {
		return
	}
	if err := b.drop(ctx, b.sink.pool, name); err != nil {
		b.sink.log.Warn().Err(err).Msg("an index that is not valid was left behind")
	}
}

func isOutOfMemory(err error) bool {
	switch fault.SQLSTATE(err) {
	case "53100", "53200": // disk full, out of memory
		return true
	default:
		return false
	}
}

// IndexDue reports whether a generation has grown past the size at which searches want an index and
// has none. It does not count one that another process builds as lacking.
func (s *Sink) IndexDue(ctx context.Context, g Generation) (bool, error) {
	index, err := s.Index(ctx, g)
	if err != nil || index.State == IndexValid || index.State == IndexBuilding {
		return false, err
	}
	if index.State == IndexInvalid {
		return true, nil
	}
	var bytes int64
	if err := s.pool.QueryRow(ctx, "SELECT pg_catalog.pg_table_size($1::text::regclass)", pgname.Catalogue(s.schema, g.Table)).Scan(&bytes); err != nil {
		return false, s.explain(err, "asking for the size of a generation")
	}
	return g.rowsOf(bytes) >= IndexRows, nil
}

// IndexRows is how many vectors a search compares one by one in less than about 10 ms (384
// dimensions).
const IndexRows = 10_000

// IndexOwner returns the role that owns the table of a generation, and whether this role may build
// its index: only the owner may.
func (s *Sink) IndexOwner(ctx context.Context, g Generation) (owner string, ours bool, err error) {
	row := s.pool.QueryRow(ctx, s.query("index_owner"), pgname.Catalogue(s.schema, g.Table))
	if err := row.Scan(&owner, &ours); err != nil {
		return "", false, s.explain(err, "asking who owns the vectors of a generation")
	}
	return owner, ours, nil
}
