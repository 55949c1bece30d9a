package rows

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/wal2vec/wal2vec/sql"
)

// mostCounted is the number of rows up to which AboutRows counts: a scan of some milliseconds,
// where the planner may be wrong by as much.
const mostCounted = 10_000

// aboutQuery is the data of the queries source_about and source_few.
type aboutQuery struct {
	Table, Deleted string
	Limit          int
}

// AboutRows returns about how many rows the table has, those aside that are marked as deleted: a
// small table's are counted, a larger one's are estimated by the planner. It takes milliseconds.
func (r *Reader) AboutRows(ctx context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	few, err := r.few(ctx, mostCounted+1)
	if err != nil || few <= mostCounted {
		return few, err
	}
	plan, err := r.readOne(ctx, "source_about", 0)
	if err != nil {
		return 0, fmt.Errorf("estimating the rows of %s: %w", r.name(), err)
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"` //nolint:tagliatelle // PostgreSQL's name
		} `json:"Plan"` //nolint:tagliatelle // PostgreSQL's name
	}
	if err := json.Unmarshal([]byte(plan), &plans); err != nil || len(plans) != 1 {
		return few, nil // what was counted is right, and less than there are
	}
	return max(few, int64(plans[0].Plan.Rows)), nil
}

// Empty reports whether the table has no row that is not marked as deleted, once no crash of the
// source can bring one back.
func (r *Reader) Empty(ctx context.Context) (bool, error) {
	few, err := r.first(ctx)
	if err != nil || few > 0 {
		return false, err
	}
	shown, session, err := r.insertPosition(ctx)
	if err != nil {
		return false, err
	}
	if err := r.WaitFlushed(ctx, shown); err != nil {
		return false, err
	}
	return true, r.Alive(ctx, session)
}

func (r *Reader) first(ctx context.Context) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	return r.few(ctx, 1)
}

// few counts the rows that are not marked as deleted, up to limit, on the open connection.
func (r *Reader) few(ctx context.Context, limit int) (int64, error) {
	text, err := r.readOne(ctx, "source_few", limit)
	if err != nil {
		return 0, fmt.Errorf("counting the rows of %s: %w", r.name(), err)
	}
	return strconv.ParseInt(text, 10, 64)
}

// readOne reads the single value of a query of the table.
func (r *Reader) readOne(ctx context.Context, query string, limit int) (text string, err error) {
	deleted, err := r.row.deleted()
	if err != nil {
		return "", err
	}
	statement, err := sql.Render(query, aboutQuery{Table: r.from(), Deleted: deleted, Limit: limit})
	if err != nil {
		return "", err
	}
	err = r.read(ctx, statement, func(row rawRow) error {
		text = string(row[0])
		return nil
	})
	return text, err
}
