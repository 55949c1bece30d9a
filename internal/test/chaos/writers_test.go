package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const table = "staging_marts.dim_product"

// vocabulary is small, so that texts recur: a key comes back to an earlier text, and several keys
// share one.
type vocabulary struct{ names, brands, categories, descriptions []string }

// poison is the word that the substitute of the encoder refuses.
const poison = "unencodable"

func newVocabulary(r *rand.Rand) vocabulary {
	words := func(prefix string, n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("%s %c", prefix, 'a'+i)
		}
		return all
	}
	v := vocabulary{names: words("Lamp", 12), brands: words("Brand", 4), categories: words("Category", 3), descriptions: words("It is", 16)}
	v.brands, v.descriptions = append(v.brands, " "), append(v.descriptions, "", "Zwölf Größen, 中文, 🙂", `quotes ' " and \ backslashes`)
	for i := range 8 { // TOASTed: longer than 2,000 bytes
		v.descriptions = append(v.descriptions, fmt.Sprintf("Long %d ", i)+strings.Repeat(fmt.Sprintf("%x ", r.Uint32()), 260+r.IntN(400)))
	}
	v.descriptions = append(v.descriptions, "An "+poison+" text", "Long and "+poison+" "+strings.Repeat("so ", 900))
	return v
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// writer changes the table in every way, one transaction after the other.
type writer struct {
	w    *world
	r    *rand.Rand
	keys int
	conn *pgx.Conn
}

// write runs until ctx ends. Its connection goes to the server directly: the source's own clients
// see none of the network's faults.
func (w *world) write(ctx context.Context, number int) error {
	wr := &writer{w: w, r: w.random(fmt.Sprintf("writer %d", number)), keys: w.plan.keys}
	begun := time.Now()
	defer func() { wr.disconnect(context.WithoutCancel(ctx)) }()
	for {
		// The draws do not depend on what the server says.
		draw := wr.draw()
		pause := time.Duration(wr.r.IntN(2*w.plan.pause)) * time.Millisecond
		if err := wr.transact(ctx, draw); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if err := wr.explain(err); err != nil {
				return fmt.Errorf("a writer's %s: %w", draw.name, err)
			}
		}
		if !wait(ctx, max(pause, lull(time.Since(begun)))) {
			return nil
		}
	}
}

// lull returns how long all writers are to be quiet, so far into the run: now and then the stream
// catches up, and the log is idle.
func lull(at time.Duration) time.Duration {
	const period, busy = 5 * time.Second, 3 * time.Second
	if in := at % period; in > busy {
		return period - in
	}
	return 0
}

func (wr *writer) disconnect(ctx context.Context) {
	if wr.conn != nil {
		_ = wr.conn.Close(ctx)
		wr.conn = nil
	}
}

// explain returns nil for what writers do to each other and servers to writers.
func (wr *writer) explain(err error) error {
	var cause *pgconn.PgError
	if !errors.As(err, &cause) {
		return nil // the connection
	}
	switch {
	case cause.Code == "23505", // another writer has the key
		strings.HasPrefix(cause.Code, "40"), cause.Code == "55P03", // deadlock, lock time-out
		strings.HasPrefix(cause.Code, "57"), strings.HasPrefix(cause.Code, "53"), // the server stops, starts, or has no room
		wr.w.plan.catalogue && (cause.Code == "42P01" || cause.Code == "XX000" || cause.Code == "0A000" || cause.Code == "42804"): // the table is elsewhere, altered, another
		return nil
	}
	return err
}

// transact runs one drawn transaction.
func (wr *writer) transact(ctx context.Context, d drawn) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if wr.conn == nil || wr.conn.IsClosed() {
		config, err := pgx.ParseConfig(wr.w.source.DSN)
		if err != nil {
			return err
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		if wr.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
			return err
		}
	}
	tx, err := wr.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // after a commit it does nothing
	for _, s := range d.statements {
		if s.hold > 0 {
			wait(ctx, s.hold)
			continue
		}
		if _, err := tx.Exec(ctx, s.text, s.args...); err != nil {
			return err
		}
	}
	if d.rollback {
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	wr.w.report.Wrote(d.name)
	return nil
}

// drawn is a transaction that a writer is to make.
type drawn struct {
	name       string
	statements []statement
	rollback   bool
}

type statement struct {
	text string
	args []any
	hold time.Duration // leaves the transaction open for so long; no statement then
}

func (d *drawn) add(text string, args ...any) {
	d.statements = append(d.statements, statement{text: text, args: args})
}

// kinds are the transactions, with how often they come.
var kinds = []struct {
	name   string
	weight int
	draw   func(*writer, *drawn)
}{
	{"insert", 12, (*writer).insert},
	{"update", 16, (*writer).update},
	{"unrelated update", 12, func(wr *writer, d *drawn) {
		d.add("UPDATE "+table+" SET price = price + 1 WHERE product_id = $1", wr.key())
	}},
	{"touch", 4, func(wr *writer, d *drawn) {
		d.add("UPDATE "+table+" SET updated_at = now() WHERE product_id BETWEEN $1 AND $2", wr.between(8)...)
	}},
	{"restored text", 6, (*writer).restore},
	{"key change", 6, (*writer).rekey},
	{"soft delete", 6, func(wr *writer, d *drawn) {
		d.add("UPDATE "+table+" SET deleted = true WHERE product_id = $1", wr.key())
	}},
	{"undelete", 6, func(wr *writer, d *drawn) {
		d.add("UPDATE "+table+" SET deleted = false WHERE product_id BETWEEN $1 AND $2", wr.between(15)...)
	}},
	{"delete", 6, func(wr *writer, d *drawn) { d.add("DELETE FROM "+table+" WHERE product_id = $1", wr.key()) }},
	{"delete and insert", 4, (*writer).replace},
	{"no text", 3, func(wr *writer, d *drawn) {
		d.add("UPDATE "+table+" SET name = NULL, brand = ' ', category = '', description = NULL WHERE product_id = $1", wr.key())
	}},
	{"truncate", 1, (*writer).truncate},
	{"rollback", 4, (*writer).rollback},
	{"savepoints", 5, (*writer).savepoints},
	{"large", 1, (*writer).large},
	{"long open", 3, (*writer).longOpen},
	{"asynchronous commit", 5, func(wr *writer, d *drawn) { d.add("SET LOCAL synchronous_commit = off"); wr.update(d) }},
}

// draw decides what comes next.
func (wr *writer) draw() drawn {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := wr.r.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			d := drawn{name: k.name}
			k.draw(wr, &d)
			return d
		}
	}
	panic("unreachable")
}

func (wr *writer) key() int { return 1 + wr.r.IntN(wr.keys) }

// between returns the ends of a run of keys.
func (wr *writer) between(most int) []any {
	first := wr.key()
	return []any{first, first + wr.r.IntN(most)}
}

func (wr *writer) row() []any {
	v, r := wr.w.vocabulary, wr.r
	return []any{pick(r, v.names), pick(r, v.brands), pick(r, v.categories), pick(r, v.descriptions)}
}

const upsert = "INSERT INTO " + table + ` AS t (product_id, name, brand, category, description, price) VALUES ($1, $2, $3, $4, $5, 1)
	ON CONFLICT (product_id) DO UPDATE SET (name, brand, category, description) = ROW (excluded.name, excluded.brand, excluded.category, excluded.description)`

func (wr *writer) insert(d *drawn) { d.add(upsert, append([]any{wr.key()}, wr.row()...)...) }

func (wr *writer) update(d *drawn) {
	row := wr.row()
	switch wr.r.IntN(4) {
	case 0: // leaves the description, TOASTed or not, as it is
		d.add("UPDATE "+table+" SET name = $2, brand = $3 WHERE product_id = $1", wr.key(), row[0], row[1])
	case 1:
		d.add("UPDATE "+table+" SET description = $2 WHERE product_id = $1", wr.key(), row[3])
	case 2: // the same text again
		d.add("UPDATE "+table+" SET description = description || '' WHERE product_id = $1", wr.key())
	default:
		d.add("UPDATE "+table+" SET name = $3, description = $4 WHERE product_id BETWEEN $1 AND $2", append(wr.between(6), row[0], row[3])...)
	}
}

// restore changes a text and, later or at once, brings the earlier one back.
func (wr *writer) restore(d *drawn) {
	key, row := wr.key(), wr.row()
	set := func(to any) {
		d.add("UPDATE "+table+" SET name = 'Restored', description = $2 WHERE product_id = $1", key, to)
	}
	if wr.r.IntN(2) == 0 {
		set(row[3])
		set("elsewhere")
	}
	set(row[3])
}

func (wr *writer) rekey(d *drawn) {
	from, to := wr.key(), wr.key()
	if wr.r.IntN(3) == 0 {
		d.add("DELETE FROM "+table+" WHERE product_id = $1", to)
	}
	d.add("UPDATE "+table+" SET product_id = $2 WHERE product_id = $1", from, to)
	if wr.r.IntN(3) == 0 { // and back
		d.add("UPDATE "+table+" SET product_id = $2 WHERE product_id = $1", to, from)
	}
}

func (wr *writer) replace(d *drawn) {
	key := wr.key()
	d.add("DELETE FROM "+table+" WHERE product_id = $1", key)
	d.add(upsert, append([]any{key}, wr.row()...)...)
}

func (wr *writer) truncate(d *drawn) {
	d.add("SET LOCAL lock_timeout = '3s'")
	if wr.r.IntN(2) == 0 {
		wr.insert(d)
	}
	d.add("TRUNCATE " + table)
	if wr.r.IntN(2) == 0 {
		wr.many(d, 20)
	}
}

func (wr *writer) rollback(d *drawn) {
	wr.insert(d)
	wr.rekey(d)
	d.rollback = true
}

func (wr *writer) savepoints(d *drawn) {
	wr.insert(d)
	d.add("SAVEPOINT a")
	wr.update(d)
	switch wr.r.IntN(3) {
	case 0:
		d.add("ROLLBACK TO a")
	case 1:
		d.add("RELEASE a")
	}
	d.add("SAVEPOINT b")
	wr.insert(d)
	d.add("SAVEPOINT c")
	d.add("DELETE FROM "+table+" WHERE product_id BETWEEN $1 AND $2", wr.between(4)...)
	if wr.r.IntN(2) == 0 {
		d.add("ROLLBACK TO b")
	}
	wr.update(d)
}

// many upserts a run of rows, with texts that only the database chooses.
func (wr *writer) many(d *drawn, most int) {
	between, v := wr.between(most), wr.w.vocabulary
	d.add("INSERT INTO "+table+` AS t (product_id, name, brand, category, description, price)
		SELECT k, 'Many', ($3::text[])[1 + k % 4], 'Category a', ($4::text[])[1 + (k * 7 + $5) % cardinality($4)], 1 FROM generate_series($1::int, $2::int) AS k
		ON CONFLICT (product_id) DO UPDATE SET (name, description) = ROW (excluded.name, excluded.description)`,
		append(between, v.brands, v.descriptions, wr.r.IntN(100))...)
}

// large is larger than any batch, and touches keys twice.
func (wr *writer) large(d *drawn) {
	wr.many(d, wr.keys)
	for range 1 + wr.r.IntN(3) {
		switch wr.r.IntN(4) {
		case 0:
			d.add("DELETE FROM "+table+" WHERE product_id BETWEEN $1 AND $2", wr.between(40)...)
		case 1:
			d.add("UPDATE "+table+" SET price = price + 1 WHERE product_id BETWEEN $1 AND $2", wr.between(80)...)
		case 2:
			d.add("SAVEPOINT l")
			wr.many(d, 60)
			d.add("ROLLBACK TO l")
		}
		wr.many(d, wr.keys)
	}
}

// longOpen keeps a transaction open that others overtake.
func (wr *writer) longOpen(d *drawn) {
	wr.insert(d)
	d.statements = append(d.statements, statement{hold: time.Duration(50+wr.r.IntN(600)) * time.Millisecond})
	wr.update(d)
}
