package follow

import (
	"context"
	"errors"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/replication"
)

// RefreshBeside runs a stream, and beside it what keeps the rows true that its log does not bring:
// the refreshes that a resync leaves, and the watch over the table's shape.
func (f *Follower) RefreshBeside(ctx context.Context, stream *pipeline.Stream) (totals pipeline.Totals, err error) {
	err = f.refreshing(ctx, func(ctx context.Context) (err error) {
		totals, err = stream.Run(ctx)
		return err
	})
	return totals, f.advise(ctx, err)
}

// Run is RefreshBeside with the builder of indexes that are due besides.
func (f *Follower) Run(ctx context.Context, stream *pipeline.Stream) (totals pipeline.Totals, err error) {
	err = f.indexing(ctx, func(ctx context.Context) (err error) {
		totals, err = f.RefreshBeside(ctx, stream)
		return err
	})
	return totals, err
}

// advise puts the advice right for the role that streams: no other is to be told how to get
// REPLICATION.
func (f *Follower) advise(ctx context.Context, err error) error {
	attribute, lacks := errors.AsType[*replication.AttributeError](err)
	if !lacks {
		return err
	}
	standing, asking := f.Store.Standing(context.WithoutCancel(ctx))
	if asking != nil || !standing.Streams || attribute.Role != standing.Role {
		return err
	}
	return fault.Instead(err, replication.GrantReplicationSQL(attribute.Role))
}
