package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

func newTeardown(p *program) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "teardown", Short: "Drop slot, publication, view and tables of the pipeline", GroupID: "manage", Args: cobra.NoArgs,
		Long: "Drop what init made for this pipeline: the slot and the publication on the source, the view, the vectors and the ledger in\n" +
			"the sink; and take back what roles were given. Of the source table the rights alone are touched. Prints what was taken from\n" +
			"which role, and what stays, with the statement that removes it. Asks for --yes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if !yes {
				return fault.New(fault.Usage, "wal2vec teardown --yes", "this drops all vectors of pipeline %q", c.Pipeline)
			}
			return p.teardown(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really drop")
	return cmd
}

// teardown looks first whether all can be dropped, then drops the slot: from then on nothing holds WAL back, whatever fails later.
func (p *program) teardown(ctx context.Context, c config.Config) error {
	source, err := connect.Source(ctx, c, "teardown")
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	s, err := connect.OpenStore(ctx, c, p.logger(c.Log), "teardown")
	if err != nil {
		return err
	}
	defer s.Close()
	release, err := s.Exclusive(ctx)
	if err != nil {
		return nothingToDrop(err)
	}
	defer release()
	state, err := s.State(ctx)
	if err != nil {
		return nothingToDrop(err)
	}
	if err := ownNames(c, state); err != nil {
		return err
	}
	roles, err := s.Roles(ctx)
	if err != nil {
		return err
	}
	removed := removedFor(c, roles)
	removed.Use = useOf(c, state)
	if err := rehearseTeardown(ctx, source, s, c.Source.Slot, removed); err != nil {
		return err
	}
	if err := replication.DropSlot(ctx, source, c.Source.Slot); err != nil {
		return err
	}
	removal, err := replication.Remove(ctx, source, removed)
	if err != nil {
		return err
	}
	if err := s.Teardown(ctx); err != nil {
		return err
	}
	for _, role := range roles {
		if left := replication.ColumnsLeft(ctx, source, c.Source.Table.Schema, c.Source.Table.Name, role.Role); left != "" {
			removal.Left = append(removal.Left, left)
		}
	}
	if err := p.sayGone(c, connect.ViewOf(c, state), roles, removal); err != nil || !fault.Absent(s.CheckSchema(ctx)) {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "schema %s is gone with its last pipeline: before another init by a role that may not create schemas, "+
		"run deploy/roles.sql again\n",
		pgname.Visible(c.Sink.Schema))
	return err
}

// nothingToDrop says of an error about a pipeline that is not there that a teardown has no work; any other stays as it is.
func nothingToDrop(err error) error {
	if !fault.Absent(err) {
		return err
	}
	return &fault.Error{
		Kind: fault.Usage, What: "there is nothing to drop",
		Try: "name the pipeline that is meant: --config FILE, or --pipeline NAME", Err: err, Absent: true,
	}
}

// removedFor names what a teardown takes out of the source; nothing of it comes from the pipeline's row, which a stream may write. The roles that
// were given the stream in the sink have its name there too: init gives on both sides.
func removedFor(c config.Config, roles []sink.Grant) replication.Removed {
	removed := replication.Removed{Swap: swapOf(c, connect.InspectOptions(c), nil, 0)}
	for _, role := range roles {
		if role.Access == sink.Write {
			removed.Roles = append(removed.Roles, role.Role)
		}
	}
	removed.Shared = shared(roles)
	return removed
}

// shared are the roles that stream another pipeline of the sink, too.
func shared(roles []sink.Grant) (names []string) {
	for _, role := range roles {
		if role.Others == sink.Write {
			names = append(names, role.Role)
		}
	}
	return names
}

// sayGone prints what was dropped, a line for each role of what was taken from it, and a line for each thing that stays.
func (p *program) sayGone(c config.Config, view string, roles []sink.Grant, removal replication.Removal) error {
	var text strings.Builder
	publication := pgname.Visible(c.Source.Publication)
	if slices.ContainsFunc(removal.Left, func(left string) bool { return strings.HasPrefix(left, "publication ") }) {
		publication += " (which stays, for other tables or pipelines)"
	}
	fmt.Fprintf(&text, "pipeline %s is gone: slot %s, publication %s, view %s, its tables\n",
		c.Pipeline, c.Source.Slot, publication, pgname.Visible(view))
	for _, role := range roles {
		fmt.Fprintf(&text, "taken in the sink: %s, from role %s\n", accessText[role.Access], pgname.Visible(role.Role))
	}
	for _, line := range rightsIn(removal.Done) {
		fmt.Fprintf(&text, "%s\n", line)
	}
	for _, left := range removal.Left {
		fmt.Fprintf(&text, "left in the source: %s\n", pgname.Visible(left))
	}
	if _, err := fmt.Fprint(p.stdout, text.String()); err != nil {
		return fmt.Errorf("printing what is gone: %w", err)
	}
	return nil
}

// rehearseTeardown drops everything but the slot, and takes it back: what this role may not drop, and what others have made on it, stops a
// teardown while the pipeline is whole.
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

// ownNames refuses to drop what only a row of the sink names: whoever may write that row would choose what is dropped with the rights of
// this role on the source.
func ownNames(c config.Config, state sink.State) error {
	slot := cmp.Or(state.SlotName, state.Slot, c.Source.Slot)
	if slot == c.Source.Slot && state.Publication == c.Source.Publication {
		return nil
	}
	return fault.New(fault.Usage, "name those that are to be dropped in source.slot and source.publication, if they are this pipeline's",
		"pipeline %q has slot %q and publication %q in the sink, the configuration names %q and %q",
		c.Pipeline, slot, state.Publication, c.Source.Slot, c.Source.Publication)
}
