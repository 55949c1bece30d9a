package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
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
			"the sink. The source table is not touched. Asks for --yes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if !yes {
				return fault.New(fault.Usage, "wal2vec teardown --yes", "this drops all vectors of pipeline %q (%s)", c.Pipeline, c.Sink.View)
			}
			return p.teardown(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really drop")
	return cmd
}

// teardown looks first whether all can be dropped, then drops the slot: from then on nothing holds WAL back, whatever fails later.
func (p *program) teardown(ctx context.Context, c config.Config) error {
	source, err := connectSource(ctx, c, "teardown")
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	s, err := openStore(ctx, c, p.logger(c.Log), "teardown")
	if err != nil {
		return err
	}
	defer s.Close()
	release, err := s.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	state, err := s.State(ctx)
	if err != nil {
		return err
	}
	if err := ownNames(c, state); err != nil {
		return err
	}
	if err := rehearseTeardown(ctx, c, source, s, state); err != nil {
		return err
	}
	if err := replication.DropSlot(ctx, source, c.Source.Slot); err != nil {
		return err
	}
	if err := replication.DropSwapFunction(ctx, source, swapOf(c, inspectOptions(c), nil, 0)); err != nil {
		return err
	}
	publication := pgname.Visible(c.Source.Publication)
	kept, err := replication.DropPublication(ctx, source, c.Source.Publication, state.Table)
	if err != nil {
		return err
	}
	if kept {
		publication += " (which stays, for its other tables)"
	}
	if err := s.Teardown(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "pipeline %s is gone: slot %s, publication %s, view %s, its tables\n",
		c.Pipeline, c.Source.Slot, publication, pgname.Visible(c.Sink.View.String()))
	return err
}

// rehearseTeardown drops everything but the slot, and takes it back: what this role may not drop, and what others have made on it, stops a
// teardown while the pipeline is whole.
func rehearseTeardown(ctx context.Context, c config.Config, source *pgx.Conn, s *store, state sink.State) error {
	slot, err := replication.ReadSlot(ctx, source, c.Source.Slot)
	if err != nil {
		return err
	}
	if slot.Active && slot.Database == slot.CurrentDatabase {
		return fault.New(fault.Busy, "stop the process that reads it", "slot %q is in use by process %d", slot.Name, slot.ActivePID)
	}
	if err := s.RehearseTeardown(ctx); err != nil {
		return err
	}
	tx, err := source.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearsing on the source: %w", err)
	}
	err = replication.DropSwapFunction(ctx, tx, swapOf(c, inspectOptions(c), nil, 0))
	if err == nil {
		_, err = replication.DropPublication(ctx, tx, c.Source.Publication, state.Table)
	}
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
