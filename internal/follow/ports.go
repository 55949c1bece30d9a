package follow

import (
	"context"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// sourcePort gives the replication source of the present history the pipeline's interface.
type sourcePort struct{ *Follower }

// Connect checks that the slot can go on from a place, and starts replication there.
func (p sourcePort) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	stream, err := p.upstream.Load().source.Connect(ctx, place)
	if p.succeeds(ctx, err) {
		stream, err = p.upstream.Load().source.Connect(ctx, place)
	}
	if err != nil {
		return nil, err
	}
	return stream, nil
}

// Check returns the error with which Connect would refuse to begin at a position.
func (p sourcePort) Check(ctx context.Context, from change.LSN) error {
	err := p.upstream.Load().source.Check(ctx, from)
	if p.succeeds(ctx, err) {
		err = p.upstream.Load().source.Check(ctx, from)
	}
	return err
}

// Current returns the end of the source's log.
func (p sourcePort) Current(ctx context.Context) (change.LSN, error) {
	return p.upstream.Load().source.Current(ctx)
}

// CheckTable returns a fault of kind Gap where the publication no longer brings the changes of the
// table that has the configured name.
func (p sourcePort) CheckTable(ctx context.Context) error {
	return p.upstream.Load().source.CheckTable(ctx)
}

// Heartbeat writes a small transaction into the source's log.
func (p sourcePort) Heartbeat(ctx context.Context) error {
	return p.upstream.Load().source.Heartbeat(ctx)
}

// gatePort gives the gate of the present history the pipeline's interface.
type gatePort struct{ *Follower }

// Visible waits until these transactions are visible to new snapshots on the source.
func (p gatePort) Visible(ctx context.Context, xids []uint32) error {
	return p.upstream.Load().gate.Visible(ctx, xids)
}

// rowsPort reads rows that no crash of the source can take back: the stream writes them at once.
type rowsPort struct{ *Follower }

// Rows reads the rows with these keys, and returns the end of the log at the read; a key without a
// row is not in the result.
func (p rowsPort) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	rows, shown, err := p.upstream.Load().reader.DurableRows(ctx, keys)
	if err != nil && p.renamed(ctx) {
		err = fault.Wrap(err, fault.Unavailable, "", "reading rows of a table that another is about to take the place of")
	}
	return rows, shown, err
}

// sinkPort gives the sink the pipeline's interface, for one history of the source: where the
// pipeline was started again, by any process, what this process knows of its source is to be learnt
// again before a position is read or a word written.
type sinkPort struct {
	*sink.Sink
	follower *Follower
	owner    string
}

// Place returns where the stream goes on, or protocol.ErrStartedAgain where the pipeline is in
// another epoch than this process knows.
func (s sinkPort) Place(ctx context.Context) (change.Place, error) {
	place, err := s.Sink.Place(ctx)
	if err == nil && place.Epoch != s.follower.upstream.Load().state.Epoch {
		err = protocol.ErrStartedAgain
	}
	if err == nil {
		err = s.follower.readFor(ctx)
	}
	return place, err
}

// Takeover makes this process the owner, once it has the models of all generations.
func (s sinkPort) Takeover(ctx context.Context) (pipeline.Writer, error) {
	stream, err := s.Sink.Takeover(ctx, s.owner, s.follower.upstream.Load().state.Epoch)
	if err != nil {
		return nil, err
	}
	if !stream.Template().Same(s.follower.upstream.Load().table.Template) {
		return nil, protocol.ErrGenerations // since readFor looked
	}
	// A generation that came in the meantime: its model is loaded before the first text of it is
	// read, so that one that is not here is noticed now.
	return stream, s.follower.engines.Become(ctx, stream.Generations())
}

// readFor makes the source side again where the generations read other columns than it does.
func (f *Follower) readFor(ctx context.Context) error {
	state, err := f.Store.State(ctx)
	if err != nil {
		return err
	}
	template, err := state.Template()
	o := f.upstream.Load()
	if err != nil || template.Same(o.table.Template) || state.Epoch != o.state.Epoch {
		return err
	}
	table, err := connect.InspectFollowed(ctx, f.Config, state)
	if err != nil {
		return err
	}
	f.Log.Info().Strs("columns", template.Columns()).Msg("the generations read other columns")
	f.begin(ctx, state, table)
	return nil
}

// retentionPort tells how much log the slot holds back, and drops it.
type retentionPort struct{ config config.Config }

// Retained returns how many bytes of log the slot holds back that are not confirmed.
func (p retentionPort) Retained(ctx context.Context) (int64, error) {
	conn, err := connect.Source(ctx, p.config, "retention")
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	slot, err := replication.ReadSlot(ctx, conn, p.config.Source.Slot)
	return slot.Unconfirmed(), err
}

// Release drops the slot.
func (p retentionPort) Release(ctx context.Context) error {
	conn, err := connect.Source(ctx, p.config, "retention")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.DropSlot(ctx, conn, p.config.Source.Slot)
}
