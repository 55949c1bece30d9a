package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/change"
)

const (
	dimension = 384
	// lookInterval is how often the sink is looked at.
	lookInterval = 100 * time.Millisecond
	// judgeInterval is how often the looks are judged.
	judgeInterval = time.Second
)

// noteSetup notes who moves the watermark. Updates of the row are in order: it is the lock of the
// protocol.
const noteSetup = `
CREATE SCHEMA IF NOT EXISTS chaos;
CREATE TABLE chaos.moves (
	id bigint GENERATED ALWAYS AS IDENTITY, process text, old_owner text, owner text, old_epoch bigint, epoch bigint, old_watermark pg_lsn, watermark pg_lsn
);
CREATE FUNCTION chaos.note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO chaos.moves (process, old_owner, owner, old_epoch, epoch, old_watermark, watermark)
	VALUES (current_setting('chaos.process', true), OLD.owner, NEW.owner, OLD.epoch, NEW.epoch, OLD.watermark, NEW.watermark);
	RETURN NULL;
END $$;
CREATE TRIGGER note_move AFTER UPDATE OF owner, epoch, watermark ON wal2vec.pipeline FOR EACH ROW EXECUTE FUNCTION chaos.note_move();
`

// checker looks at the sink and judges what it saw, once the oracle has come that far.
type checker struct {
	w      *world
	oracle *oracle

	conn    *pgx.Conn // of the sink
	source  *pgx.Conn
	vectors string // the table

	queue   []Look
	last    Look
	seen    map[change.LSN]struct{}
	digests map[modelled]Digest
	moved   int64             // the last move that was judged
	owners  map[string]string // owner to process
	// beyond is since when the slot is confirmed beyond the watermark; zero where it is not.
	beyond time.Time
}

// modelled is a text as one model sees it.
type modelled struct {
	model string
	text  change.Hash
}

func (w *world) newChecker(o *oracle) *checker {
	return &checker{
		w: w, oracle: o, seen: make(map[change.LSN]struct{}), digests: make(map[modelled]Digest), owners: make(map[string]string),
	}
}

// disconnect closes the connections; the next look opens new ones.
func (c *checker) disconnect(ctx context.Context) {
	for _, conn := range []**pgx.Conn{&c.conn, &c.source} {
		if *conn != nil {
			_ = (*conn).Close(ctx)
			*conn = nil
		}
	}
}

// run looks and judges until ctx ends or something is wrong.
func (c *checker) run(ctx context.Context) error {
	judged := time.Now()
	for wait(ctx, lookInterval) {
		const most = 200 // while the source is down nothing can be judged
		if len(c.queue) < most {
			if err := c.look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errLater) {
				return err
			}
		}
		if time.Since(judged) < judgeInterval {
			continue
		}
		judged = time.Now()
		if err := c.judge(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errLater) {
			return err
		}
	}
	return nil
}

// reconnect leaves a usable connection in *conn.
func reconnect(ctx context.Context, conn **pgx.Conn, dsn string) error {
	if *conn != nil && !(*conn).IsClosed() {
		return nil
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	if *conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		*conn = nil
		return errors.Join(errLater, err)
	}
	return nil
}

// look takes a look and checks what needs no oracle. The slot is read before the snapshot: the
// watermark only rises.
func (c *checker) look(ctx context.Context) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w, confirmed := c.w, c.confirmed(ctx)
	if err := reconnect(ctx, &c.conn, w.sink.DSN); err != nil {
		return err
	}
	var l Look
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, c.conn, options, func(tx pgx.Tx) (err error) {
		l, err = c.snapshot(ctx, tx)
		return err
	})
	if err != nil {
		return errors.Join(errLater, err)
	}
	epoch := c.last.Epoch
	if err := c.judgeSlot(confirmed, l); err != nil {
		return err
	}
	if epoch > l.Epoch || (epoch == l.Epoch && c.last.Watermark > l.Watermark) {
		return fmt.Errorf("the watermark went back from %s in epoch %d to %s in %d", c.last.Watermark, epoch, l.Watermark, l.Epoch)
	}
	if epoch != l.Epoch {
		c.last.Start = l.Watermark
		w.gap.open.Store(false)
	}
	l.Start = c.last.Start
	c.last, c.queue = l, append(c.queue, l)
	w.trace("looked", fmt.Sprintf("W %s partial %s slot %s swept %t", l.Watermark, l.Partial, confirmed, l.Swept))
	return nil
}

// judgeSlot complains of a slot that is confirmed beyond the watermark. A new slot is of an epoch
// to come: where a table that was not published may have led to one, it has some time to come.
func (c *checker) judgeSlot(confirmed change.LSN, l Look) error {
	const patience = 30 * time.Second
	switch {
	case c.last.Epoch != l.Epoch || c.w.gap.open.Load() || confirmed <= l.Watermark:
		c.beyond = time.Time{}
		return nil
	case !c.w.windows.ever():
	case c.beyond.IsZero():
		c.beyond = time.Now()
		return nil
	case time.Since(c.beyond) < patience:
		return nil
	}
	return fmt.Errorf("the slot is confirmed up to %s, beyond the watermark %s", confirmed, l.Watermark)
}

// confirmed returns the slot's confirmed position; zero where the source does not say.
func (c *checker) confirmed(ctx context.Context) change.LSN {
	if reconnect(ctx, &c.source, c.w.source.DSN) != nil {
		return 0
	}
	var text string
	const query = "SELECT coalesce(max(confirmed_flush_lsn), '0/0')::text FROM pg_replication_slots WHERE slot_name = $1"
	if c.source.QueryRow(ctx, query, c.w.slot()).Scan(&text) != nil {
		return 0
	}
	lsn, err := change.ParseLSN(text)
	if err != nil {
		return 0
	}
	return lsn
}

func (c *checker) snapshot(ctx context.Context, tx pgx.Tx) (Look, error) {
	l := Look{Rows: make(map[int64]Row)}
	var watermark, partial, covered string
	var generation int
	err := tx.QueryRow(ctx, `SELECT epoch, watermark::text, coalesce(partial_until, '0/0')::text,
			(SELECT vector_table FROM wal2vec.generation WHERE state = 'active'),
			(SELECT model FROM wal2vec.generation WHERE state = 'active'), (SELECT id FROM wal2vec.generation WHERE state = 'active'),
			EXISTS (SELECT FROM wal2vec.backfill AS b WHERE b.outcome = 'swept' AND b.started_epoch = p.epoch),
			(SELECT coalesce(max(b.started_lsn), '0/0')::text FROM wal2vec.backfill AS b
				WHERE b.outcome = 'swept' AND b.row_limit IS NULL AND b.mode IN ('incremental', 'full')), p.source_oid
		FROM wal2vec.pipeline AS p`).Scan(&l.Epoch, &watermark, &partial, &c.vectors, &l.Model, &generation, &l.Swept, &covered, &l.Relation)
	if err != nil {
		return l, fmt.Errorf("reading the pipeline: %w", err)
	}
	if l.Watermark, err = change.ParseLSN(watermark); err != nil {
		return l, err
	}
	if l.Partial, err = change.ParseLSN(partial); err != nil {
		return l, err
	}
	if l.Covered, err = change.ParseLSN(covered); err != nil {
		return l, err
	}
	rows, err := tx.Query(ctx, `SELECT coalesce(l.product_id, v.product_id), coalesce(l.epoch, 0), l.product_id IS NOT NULL,
			l.text_hash, v.text_hash, vector_send(v.embedding), d.text_hash, coalesce(d.reason, '')
		FROM wal2vec.ledger_`+c.w.pipeline()+` AS l FULL JOIN wal2vec.`+c.vectors+` AS v ON v.product_id = l.product_id
		LEFT JOIN wal2vec.dead_letter_`+c.w.pipeline()+` AS d ON d.key = ARRAY[coalesce(l.product_id, v.product_id)::text] AND d.generation = $1`, generation)
	if err != nil {
		return l, fmt.Errorf("reading the ledger: %w", err)
	}
	var key int64
	var r Row
	var hash, vectorHash, vector, letter []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &r.Epoch, &r.Known, &hash, &vectorHash, &vector, &letter, &r.Reason}, func() error {
		got := r
		if hash != nil {
			got.State = State{Live: true, Hash: change.Hash(hash)}
		}
		if got.Has = vector != nil; got.Has {
			got.Vector = change.Hash(vectorHash)
			got.Digest = sha256.Sum256(vector)
		}
		if letter != nil {
			got.Letter = change.Hash(letter)
		}
		l.Rows[key] = got
		return nil
	})
	return l, err
}

// judge compares the looks with the source's history.
func (c *checker) judge(ctx context.Context) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.judgeMoves(ctx); err != nil {
		return err
	}
	reached, err := c.oracle.advance(ctx)
	if err != nil {
		return err
	}
	var later []Look
	for _, l := range c.queue {
		if l.Watermark > reached || l.Partial > reached {
			later = append(later, l)
			continue
		}
		if err := c.judgeLook(l); err != nil {
			return err
		}
	}
	c.queue = later
	return nil
}

func (c *checker) judgeLook(l Look) error {
	if wrong := Judge(&c.oracle.history, l, seenBy{c, l.Model}); len(wrong) > 0 {
		const most = 10
		text := fmt.Sprintf("%d keys are wrong in epoch %d, swept %t:", len(wrong), l.Epoch, l.Swept)
		for _, line := range wrong[:min(most, len(wrong))] {
			text += "\n" + line
		}
		return errors.New(text)
	}
	c.seen[l.Watermark] = struct{}{}
	c.w.report.Saw("looks at " + l.Model)
	c.w.report.Judged(l, len(c.seen))
	return nil
}

// Dead says that the substitute of the encoder refuses the text.
func (c *checker) Dead(hash change.Hash) bool { return strings.Contains(c.oracle.texts[hash], poison) }

// seenBy knows the vectors of one model.
type seenBy struct {
	*checker
	model string
}

// Digest is the hash of the vector that a text with this hash has, in the server's binary form; no
// vector's where no such text was seen.
func (c seenBy) Digest(hash change.Hash) Digest {
	if d, found := c.digests[modelled{c.model, hash}]; found {
		return d
	}
	text, found := c.oracle.texts[hash]
	if !found {
		return Digest{}
	}
	vector := encodertest.ModelVector(c.w.models[c.model], text, dimension)
	form := binary.BigEndian.AppendUint16(nil, dimension)
	form = binary.BigEndian.AppendUint16(form, 0)
	for _, v := range vector {
		form = binary.BigEndian.AppendUint32(form, math.Float32bits(v))
	}
	d := Digest(sha256.Sum256(form))
	c.digests[modelled{c.model, hash}] = d
	return d
}

// judgeMoves checks that the watermark was moved by its owner only, and never back, in every
// commit.
func (c *checker) judgeMoves(ctx context.Context) error {
	if err := reconnect(ctx, &c.conn, c.w.sink.DSN); err != nil {
		return err
	}
	rows, err := c.conn.Query(ctx, `SELECT id, coalesce(process, ''), coalesce(old_owner, ''), coalesce(owner, ''), old_epoch = epoch,
		coalesce(old_watermark <= watermark, true), coalesce(old_watermark <> watermark, true) FROM chaos.moves WHERE id > $1 ORDER BY id`, c.moved)
	if err != nil {
		return errors.Join(errLater, err)
	}
	var id int64
	var process, before, owner string
	var same, onwards, moved bool
	var wrong error
	_, err = pgx.ForEachRow(rows, []any{&id, &process, &before, &owner, &same, &onwards, &moved}, func() error {
		c.moved = id
		switch {
		case !same: // a resync has no owner
			c.w.report.Saw("resyncs")
		case !onwards:
			wrong = fmt.Errorf("%s moved the watermark back", process)
		case owner != before:
			c.owners[owner] = process
			c.w.report.Saw("takeovers")
		case moved && c.owners[owner] != process:
			wrong = fmt.Errorf("%s moved the watermark; the owner is %s of %s", process, owner, c.owners[owner])
		}
		return wrong
	})
	if wrong != nil {
		return wrong
	}
	if err != nil {
		return errors.Join(errLater, err)
	}
	return nil
}
