package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/setup"
)

func newTeardown(p *program) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "teardown", Short: "Drop slot, publication, view and tables of the pipeline", GroupID: "manage", Args: cobra.NoArgs,
		Long: "Drop what init made for this pipeline: the slot and the publication on the source, the view, the vectors and the ledger in\n" +
			"the sink; and take back what roles were given. Of the source table, only the rights change. Prints what was taken from\n" +
			"which role, and what stays, with the statement that removes it. Asks for --yes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if !yes {
				return fault.New(fault.Usage, "wal2vec teardown --yes", "this drops all vectors of pipeline %q", c.Pipeline)
			}
			gone, err := setup.Teardown(cmd.Context(), c, p.logger(c.Log))
			if err != nil {
				return err
			}
			return p.sayGone(c, gone)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really drop")
	return cmd
}

// sayGone prints what was dropped, a line for each role of what was taken from it, and a line for
// each thing that stays.
func (p *program) sayGone(c config.Config, gone setup.Gone) error {
	var text strings.Builder
	publication := pgname.Visible(c.Source.Publication)
	if slices.ContainsFunc(gone.Left, func(left string) bool { return strings.HasPrefix(left, "publication ") }) {
		publication += " (which stays, for other tables or pipelines)"
	}
	fmt.Fprintf(&text, "pipeline %s is gone: slot %s, publication %s, view %s, its tables\n",
		c.Pipeline, c.Source.Slot, publication, pgname.Visible(gone.View))
	for _, role := range gone.Roles {
		fmt.Fprintf(&text, "taken in the sink: %s, from role %s\n", setup.AccessText[role.Access], pgname.Visible(role.Role))
	}
	for _, line := range gone.Taken {
		fmt.Fprintf(&text, "%s\n", line)
	}
	for _, note := range gone.Unread {
		fmt.Fprintf(&text, "%s\n", pgname.Visible(note))
	}
	for _, left := range gone.Left {
		fmt.Fprintf(&text, "left in the source: %s\n", pgname.Visible(left))
	}
	if gone.Schema {
		fmt.Fprintf(&text, "schema %s is gone with its last pipeline: before another init by a role that may not create schemas, "+
			"run deploy/roles.sql again\n", pgname.Visible(c.Sink.Schema))
	}
	if _, err := fmt.Fprint(p.stdout, text.String()); err != nil {
		return fmt.Errorf("printing what is gone: %w", err)
	}
	return nil
}
