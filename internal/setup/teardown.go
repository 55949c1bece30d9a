package setup

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

// Gone is what a teardown dropped and took.
type Gone struct {
	View string
	// Roles are those that had rights in the sink.
	Roles []sink.Grant
	// Taken are lines that tell what roles lost in the source, Left what stays there, each with the
	// statement that removes it.
	Taken, Left []string
	// Unread are lines that tell of noted readers of the publication whose slots are not there.
	Unread []string
	// Schema is true where the sink's schema went with its last pipeline.
	Schema bool
}

// Teardown drops what init made for the pipeline. It checks first whether all can be dropped, then
// drops the slot: from then on nothing holds WAL back, whatever fails later.
func Teardown(ctx context.Context, c config.Config, log zerolog.Logger) (gone Gone, err error) {
	source, err := connect.Source(ctx, c, "teardown")
	if err != nil {
		return gone, err
	}
	defer source.Close(context.WithoutCancel(ctx))
	s, err := connect.OpenStore(ctx, c, log, "teardown")
	if err != nil {
		return gone, err
	}
	defer s.Close()
	release, err := s.Exclusive(ctx)
	if err != nil {
		return gone, nothingToDrop(err)
	}
	defer release()
	state, err := s.State(ctx)
	if err != nil {
		return gone, nothingToDrop(err)
	}
	if err := ownNames(c, state); err != nil {
		return gone, err
	}
	if gone.Roles, err = s.Roles(ctx); err != nil {
		return gone, err
	}
	removed := removedFor(c, gone.Roles)
	removed.Use = UseOf(c, state)
	if err := rehearseTeardown(ctx, source, s, c.Source.Slot, removed); err != nil {
		return gone, err
	}
	if err := replication.DropSlot(ctx, source, c.Source.Slot); err != nil {
		return gone, err
	}
	removal, err := replication.Remove(ctx, source, removed)
	if err != nil {
		return gone, err
	}
	if err := s.Teardown(ctx); err != nil {
		return gone, err
	}
	for _, role := range gone.Roles {
		if left := replication.ColumnsLeft(ctx, source, c.Source.Table.Schema, c.Source.Table.Name, role.Role); left != "" {
			removal.Left = append(removal.Left, left)
		}
	}
	gone.View, gone.Taken, gone.Left, gone.Unread = connect.ViewOf(c, state), rightsIn(removal.Done), removal.Left, removal.Gone
	gone.Schema = fault.Absent(s.CheckSchema(ctx))
	return gone, nil
}

// nothingToDrop says of an error about a pipeline that is not there that a teardown has no work;
// any other stays as it is.
func nothingToDrop(err error) error {
	if !fault.Absent(err) {
		return err
	}
	return &fault.Error{
		Kind: fault.Usage, What: "there is nothing to drop",
		Try: "name the pipeline that is meant: --config FILE, or --pipeline NAME", Err: err, Absent: true,
	}
}

// removedFor names what a teardown takes out of the source; nothing of it comes from the pipeline's
// row, which a stream may write. The roles that were given the stream in the sink have its name
// there too: init gives on both sides.
func removedFor(c config.Config, roles []sink.Grant) replication.Removed {
	removed := replication.Removed{Swap: SwapOf(c, connect.InspectOptions(c), nil, 0)}
	for _, role := range roles {
		if role.Access == sink.Write {
			removed.Roles = append(removed.Roles, role.Role)
		}
	}
	if reader := connect.Reader(c); reader != "" {
		removed.Roles = append(removed.Roles, reader)
	}
	removed.Shared = shared(c, roles)
	return removed
}

// shared are the roles that stream another pipeline of the sink, too. Where there is one, the role
// that reads this table may read for that one.
func shared(c config.Config, roles []sink.Grant) (names []string) {
	for _, role := range roles {
		if role.Others == sink.Write {
			names = append(names, role.Role)
		}
	}
	if reader := connect.Reader(c); reader != "" && len(names) > 0 {
		names = append(names, reader)
	}
	return names
}

// rehearseTeardown drops everything but the slot, and takes it back: what this role may not drop,
// and what others have made on it, stops a teardown while the pipeline is whole.
func rehearseTeardown(ctx context.Context, source *pgx.Conn, s *connect.Store, name string, removed replication.Removed) error {
	slot, err := replication.ReadSlot(ctx, source, name)
	if err != nil {
		return err
	}
	if slot.Active && slot.Database == slot.CurrentDatabase {
		return fault.New(fault.Busy, "stop the process that reads it", "slot %q is in use by process %d%s",
			slot.Name, slot.ActivePID, replication.Whose(ctx, source, slot.ActivePID))
	}
	if err := s.RehearseTeardown(ctx); err != nil {
		return err
	}
	tx, err := source.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearsing on the source: %w", err)
	}
	_, err = replication.Remove(ctx, tx, removed)
	if rollbackErr := tx.Rollback(ctx); err == nil {
		err = rollbackErr
	}
	return err
}

// ownNames refuses to drop what only a row of the sink names: a role that may write that row would
// choose what is dropped with the rights of this role on the source.
func ownNames(c config.Config, state sink.State) error {
	slot := cmp.Or(state.SlotName, state.Slot, c.Source.Slot)
	if slot == c.Source.Slot && state.Publication == c.Source.Publication {
		return nil
	}
	return fault.New(fault.Usage, "name those that are to be dropped in source.slot and source.publication, if they are this pipeline's",
		"pipeline %q has slot %q and publication %q in the sink, the configuration names %q and %q",
		c.Pipeline, slot, state.Publication, c.Source.Slot, c.Source.Publication)
}
