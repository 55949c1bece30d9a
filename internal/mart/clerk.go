package mart

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/demodata"
)

// Deed is a kind of change that a shop makes to its products.
type Deed string

const (
	deedInsert Deed = "inserts"
	// DeedEdit changes the text of a product.
	DeedEdit    Deed = "edits"
	deedReprice Deed = "price changes"
	deedHide    Deed = "soft deletes"
	deedUnhide  Deed = "undeletes"
	deedDelete  Deed = "deletes"
)

// Deeds lists them in the order of the report.
var Deeds = []Deed{deedInsert, DeedEdit, deedReprice, deedHide, deedUnhide, deedDelete}

// Mixed is a shop's day, in percent.
var Mixed = map[Deed]int{deedInsert: 15, DeedEdit: 50, deedReprice: 10, deedHide: 10, deedUnhide: 5, deedDelete: 10}

const (
	insertProduct  = "INSERT INTO staging_marts.dim_product (product_id, name, brand, category, description, price) VALUES ($1, $2, $3, $4, $5, $6)"
	editProduct    = "UPDATE staging_marts.dim_product SET description = $2, updated_at = now() WHERE product_id = $1"
	repriceProduct = "UPDATE staging_marts.dim_product SET price = price + 1, updated_at = now() WHERE product_id = $1"
	hideProduct    = "UPDATE staging_marts.dim_product SET deleted = $2, updated_at = now() WHERE product_id = $1"
	deleteProduct  = "DELETE FROM staging_marts.dim_product WHERE product_id = $1"
)

// clerk is a writer of single-row transactions at a steady rate, who tells a watcher of each.
type clerk struct {
	conn  *pgx.Conn
	watch *watcher
	mix   map[Deed]int // percent
	rng   *rand.Rand

	live, hidden []int64
	next         int64                      // key of the next insert
	edited       map[int64]demodata.Product // those whose text is not the generated one
	Done         map[Deed]int
}

// newClerk returns a writer to the generated products 1 to rows, except for one key.
func newClerk(conn *pgx.Conn, watch *watcher, mix map[Deed]int, rows, except int64) *clerk {
	random := rand.New(rand.NewPCG(Seed, uint64(rows))) //nolint:gosec // the same products in every run
	c := &clerk{
		conn: conn, watch: watch, mix: mix, rng: random, next: rows + 1,
		edited: make(map[int64]demodata.Product), Done: make(map[Deed]int),
	}
	for key := int64(1); key <= rows; key++ {
		if key != except {
			c.live = append(c.live, key)
		}
	}
	return c
}

// work makes n changes, rate of them a second, and returns how long that took.
func (c *clerk) work(ctx context.Context, n, rate int) (time.Duration, error) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	begun := time.Now()
	for range n {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-tick.C:
		}
		what := c.choose()
		if err := c.do(ctx, what); err != nil {
			return 0, fmt.Errorf("writing %s: %w", what, err)
		}
		c.Done[what]++
	}
	return time.Since(begun), nil
}

func (c *clerk) choose() Deed {
	dice := c.rng.IntN(100)
	for _, d := range Deeds {
		if dice -= c.mix[d]; dice < 0 {
			if d == deedUnhide && len(c.hidden) == 0 {
				break
			}
			return d
		}
	}
	return DeedEdit
}

func (c *clerk) do(ctx context.Context, what Deed) error {
	if what == deedInsert {
		p := demodata.At(Seed, c.next)
		c.next++
		err := c.Commit(ctx, p.ID, present, insertProduct, p.ID, p.Name, p.Brand, p.Category, p.Description, p.Price())
		c.live = append(c.live, p.ID)
		return err
	}
	if what == deedUnhide {
		key := c.take(&c.hidden)
		c.live = append(c.live, key)
		return c.Commit(ctx, key, present, hideProduct, key, false)
	}
	if len(c.live) == 0 {
		return errors.New("no row is left")
	}
	switch key := c.take(&c.live); what {
	case deedHide:
		c.hidden = append(c.hidden, key)
		return c.Commit(ctx, key, Absent, hideProduct, key, true)
	case deedDelete:
		return c.Commit(ctx, key, Absent, deleteProduct, key)
	case deedReprice:
		c.live = append(c.live, key)
		_, err := c.conn.Exec(ctx, repriceProduct, key) // the view shows nothing of it
		return err
	default:
		c.live = append(c.live, key)
		p := demodata.Edit(c.product(key), c.rng)
		c.edited[key] = p
		return c.Commit(ctx, key, Changed, editProduct, key, p.Description)
	}
}

// product is what the table holds under a key.
func (c *clerk) product(key int64) demodata.Product {
	if p, found := c.edited[key]; found {
		return p
	}
	return demodata.At(Seed, key)
}

// take removes a key that has no pending change from a list. When all have one it takes any and
// waits for it.
func (c *clerk) take(from *[]int64) int64 {
	list := *from
	at := c.rng.IntN(len(list))
	for range list {
		if !c.watch.pending(list[at]) {
			break
		}
		at = (at + 1) % len(list)
	}
	key := list[at]
	list[at] = list[len(list)-1]
	*from = list[:len(list)-1]
	return key
}

// commitWait bounds the wait for a key whose last change is not visible yet.
const commitWait = 30 * time.Second

// Commit runs one statement as a transaction of its own, which has committed when Exec returns.
func (c *clerk) Commit(ctx context.Context, key int64, want Visibility, statement string, args ...any) error {
	if c.watch.pending(key) {
		if err := c.watch.wait(ctx, commitWait); err != nil {
			return err
		}
	}
	var before time.Time
	if want == Changed {
		if err := c.conn.QueryRow(ctx, c.watch.query, []int64{key}).Scan(nil, &before); err != nil {
			return fmt.Errorf("reading the view: %w", err)
		}
	}
	c.watch.expect(key, want, before)
	_, err := c.conn.Exec(ctx, statement, args...)
	c.watch.committed(key, time.Now())
	return err
}
