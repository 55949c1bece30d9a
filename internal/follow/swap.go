package follow

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/setup"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// renamed reports whether the name of the table that is followed belongs to another table now, or
// to none: what failed to read it may go through when the swap is followed.
func (f *Follower) renamed(ctx context.Context) bool {
	if !connect.FollowsSwaps(f.Config) {
		return false
	}
	conn, err := connect.Source(ctx, f.Config, "inspect")
	if err != nil {
		return false
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return fault.KindOf(replication.CheckName(ctx, conn, f.upstream.Load().state.Table)) == fault.Gap
}

// swapsOnly reports whether a gap is a swapped table that is followed: the next session finds it,
// and goes on.
func (f *Follower) swapsOnly(gap error) bool {
	swap, swapped := errors.AsType[*replication.SwapError](gap)
	return swapped && swap.Is != 0 && connect.FollowsSwaps(f.Config)
}

// succeeds notes the table that a look at the source found in the place of the one that is
// followed, and reports whether it did.
func (f *Follower) succeeds(ctx context.Context, err error) bool {
	swap, swapped := errors.AsType[*replication.SwapError](err)
	if !swapped || !connect.FollowsSwaps(f.Config) {
		return false
	}
	o := f.upstream.Load()
	successor := swap.Is
	if successor == o.state.Table.OID { // it has its name again
		successor = 0
	}
	f.Log.Info().Uint32("was", o.state.Table.OID).Uint32("is", swap.Is).Msg("the table was replaced by another of its name")
	f.beginWith(ctx, o.state, o.table, successor)
	return true
}

// swapPort follows a swapped table for the pipeline.
type swapPort struct {
	*Follower
	owner string
	due   change.LSN
}

// Pending is true in an upstream with a successor.
func (p *swapPort) Pending() bool { return p.upstream.Load().successor != 0 }

// noteListed notes which columns the publication lists for the table: once it is swapped and
// dropped, nothing tells.
func (f *Follower) noteListed(ctx context.Context, source *pgx.Conn, oid uint32) {
	if listed, err := replication.PublishedColumns(ctx, source, f.Config.Source.Publication, oid); err == nil {
		f.listed.Store(&listed)
	}
}

// Prepare tries until no process holds what it needs.
func (p *swapPort) Prepare(ctx context.Context) (change.LSN, error) {
	const first, longest = 100 * time.Millisecond, 5 * time.Second
	o := p.upstream.Load()
	options, err := connect.OptionsFor(p.Config, o.state)
	if err != nil {
		return 0, err
	}
	swap := setup.SwapOf(p.Config, options, o.state.Table.Key, o.successor)
	if listed := p.listed.Load(); listed != nil {
		swap.Listed = *listed
	}
	for pauses := pause.Growing(first, min(longest, p.Config.Stream.RetryMax)); ; {
		p.due, err = replication.PrepareSwap(ctx, p.Config.Source.DSN.Reveal(), swap)
		if !fault.Retryable(err) {
			return p.due, err
		}
		next := pauses.Next()
		p.Log.Warn().Err(err).Dur("pause", next).Msg("the new table is not published yet, trying again")
		if err := pause.For(ctx, next); err != nil {
			return 0, err
		}
	}
}

// Finish makes the new table the pipeline's, and asks for the refresh.
func (p *swapPort) Finish(ctx context.Context) error {
	o := p.upstream.Load()
	failpoint.Hit("swap_due")
	p.noteShape(ctx, o)
	err := p.Store.Swap(ctx, sink.Swap{From: o.state.Epoch, Owner: p.owner, Was: o.state.Table.OID, Is: o.successor, At: p.due})
	if err != nil {
		return err
	}
	failpoint.Hit("swap_finished")
	source, err := connect.Source(ctx, p.Config, "swap")
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	if _, err := p.overtaken(ctx, source); err != nil {
		return err
	}
	p.Log.Info().Uint32("was", o.state.Table.OID).Uint32("is", o.successor).Stringer("lsn", p.due).Msg("following the new table")
	p.unpublish(ctx, source, o.state.Table.OID, o.successor)
	return nil
}

// noteShape notes the new table's shape before its refresh reads the first row. Where it fails,
// because the name moved on, only what happens to the table until the next look at its shape goes
// unnoticed.
func (p *swapPort) noteShape(ctx context.Context, o *upstream) {
	table, err := connect.InspectPipeline(ctx, p.Config, o.state)
	if err == nil {
		err = p.Store.NoteShape(ctx, table.Shape)
	}
	if err != nil {
		p.Log.Debug().Err(err).Msg("noting the new table's shape")
	}
}

// unpublish takes the old table, if it still exists, out of the publication. Its changes are
// ignored in any case.
func (f *Follower) unpublish(ctx context.Context, source *pgx.Conn, was, is uint32) {
	const published = "the old table is still published, which costs some log and harms nothing"
	step, owner, err := replication.UnpublishSQL(ctx, source, f.Config.Source.Publication, was, is)
	if err == nil && step != "" {
		err = statement.Run(ctx, source, step)
	}
	switch {
	case err == nil:
	case step == "":
		f.Log.Warn().Err(err).Msg(published)
	case fault.SQLSTATE(err) == fault.NotPermitted:
		f.Log.Warn().Str("try", pgname.Pasteable(step)+"; -- as role "+pgname.Identifier(owner)+", or drop that table").
			Msg(published + "; this role may not take it out of the publication")
	default:
		f.Log.Warn().Err(err).Str("try", pgname.Pasteable(step)+";").Msg(published)
	}
}
