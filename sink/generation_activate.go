package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// Coverage counts the rows that a generation has to have a vector of.
type Coverage struct {
	// Live rows have a text. Fresh of them have its vector, and Failed have none because their text
	// cannot be encoded.
	Live, Fresh, Failed int64
}

// Full reports whether every row has its vector, dead letters aside.
func (c Coverage) Full() bool { return c.Fresh+c.Failed == c.Live }

// Share is the part of the rows that has what it can have: 1 is all of them.
func (c Coverage) Share() float64 {
	if c.Live == 0 {
		return 1
	}
	return float64(c.Fresh+c.Failed) / float64(c.Live)
}

// Activation says which generation is to be read.
type Activation struct {
	// ID is the generation's number; zero is the one that was active before.
	ID int
	// Force activates below full coverage, while the generation is being filled, without an index,
	// and while a resync's refresh is open.
	Force bool
}

// Activated is what an activation did.
type Activated struct {
	// Was is the generation that was active before; the same as Is when nothing changed.
	Was, Is  Generation
	Coverage Coverage
	// Forced says what would have refused the activation without Force.
	Forced []string
}

// Activate makes a generation the one that searches and the view read, in one transaction under the
// pipeline's lock. The one that was active stays and is written. It is refused (fault.Usage) while
// the generation has holes, see Activation.Force, and when something depends on a view whose type
// would change.
func (s *Sink) Activate(ctx context.Context, a Activation) (Activated, error) {
	var done Activated
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, p, err := s.lockedState(ctx, tx)
		if err != nil {
			return nil, err
		}
		if done.Is, err = st.choose(a.ID); err != nil {
			return nil, err
		}
		if st.Generation != nil {
			done.Was = *st.Generation
		}
		var holes []string
		if holes, done.Coverage, err = s.holes(ctx, tx, st, done.Is, p.version.Epoch); err != nil {
			return nil, err
		}
		if done.Was.ID == done.Is.ID {
			return nil, nil
		}
		if len(holes) > 0 && !a.Force {
			return nil, fault.New(fault.Usage, buildCommand+", which goes on with what is missing, or --force", "generation %d is not ready: %s",
				done.Is.ID, strings.Join(holes, "; "))
		}
		done.Forced = holes
		steps, err := s.switchView(ctx, tx, st, done.Was, done.Is)
		if err != nil {
			return nil, err
		}
		data := s.generationData(done.Is)
		done.Is.State, done.Was.State = Active, Previous
		steps = append(steps, render("generation_previous", data), render("generation_activate", data), render("generation_count", data))
		if err := s.runSteps(ctx, tx, steps); err != nil {
			return nil, err
		}
		failpoint.Hit("generation_activated")
		return nil, nil
	})
	if err != nil {
		return Activated{}, s.explainOwned(ctx, err, "activating a generation")
	}
	return done, nil
}

// choose finds the generation of a number, or the one that was active before.
func (st State) choose(id int) (Generation, error) {
	var found Generation
	for _, g := range st.Generations {
		if g.ID == id && id != 0 {
			return g, nil
		}
		if id == 0 && g.State == Previous && g.ActivatedAt.After(found.ActivatedAt) {
			found = g
		}
	}
	switch {
	case id != 0:
		return found, st.unknown(id)
	case found.ID == 0:
		return found, fault.New(fault.Usage, "wal2vec generation list", "no generation was active before")
	default:
		return found, nil
	}
}

func (st State) unknown(id int) error {
	for _, g := range st.all {
		if g.ID == id {
			return fault.New(fault.Usage, buildCommand, "generation %d is retired", id)
		}
	}
	return fault.New(fault.Usage, "wal2vec generation list", "there is no generation %d", id)
}

// holes says what a search of the generation would miss.
func (s *Sink) holes(ctx context.Context, tx pgx.Tx, st State, g Generation, epoch change.Epoch) ([]string, Coverage, error) {
	var holes []string
	coverage, err := s.coverage(ctx, tx, st, g)
	if err != nil {
		return nil, coverage, err
	}
	if !coverage.Full() {
		holes = append(holes, fmt.Sprintf("%d of %d rows have no vector", coverage.Live-coverage.Fresh-coverage.Failed, coverage.Live))
	}
	filling, givenUp, err := s.filling(ctx, tx, g)
	if err != nil {
		return nil, coverage, err
	}
	if filling {
		holes = append(holes, "the job that fills it is not complete")
	}
	if givenUp { // the ledger may lack rows that the job has not seen: coverage does not tell
		holes = append(holes, "the job that fills it was given up after a week in which nothing happened (wal2vec backfill makes up for it too)")
	}
	var refresh bool
	if err := tx.QueryRow(ctx, s.query("jobs_resync"), s.pipeline, epoch).Scan(&refresh); err != nil {
		return nil, coverage, err
	}
	if refresh {
		holes = append(holes, "the refresh after a resync is not complete (wal2vec backfill)")
	}
	index, err := s.indexState(ctx, tx, g)
	if err != nil {
		return nil, coverage, err
	}
	// A small table that was searched before needs none.
	if index != IndexValid && (index != IndexMissing || g.State != Previous || coverage.Live >= IndexRows) {
		holes = append(holes, "its index is "+string(index))
	}
	return holes, coverage, nil
}

// filling reports whether the job that fills a generation is open, or was given up before its end.
func (s *Sink) filling(ctx context.Context, tx pgx.Tx, g Generation) (filling, givenUp bool, err error) {
	err = tx.QueryRow(ctx, s.query("generation_filling"), s.pipeline, g.ID).Scan(&filling, &givenUp)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // a pipeline's first generation has none
		return false, false, s.explain(err, "looking for the job that fills a generation")
	}
	return filling, givenUp, nil
}

func (s *Sink) coverage(ctx context.Context, q querier, st State, g Generation) (Coverage, error) {
	var c Coverage
	t := s.tablesOf(st.Table.Key).forGeneration(s, g, defaultExtensionSchema)
	if err := q.QueryRow(ctx, render("generation_coverage", t)).Scan(&c.Live, &c.Fresh, &c.Failed); err != nil {
		return c, s.explain(err, "counting what a generation has")
	}
	return c, nil
}
