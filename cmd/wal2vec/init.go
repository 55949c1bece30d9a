package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/setup"
)

func newInit(p *program) *cobra.Command {
	var o setup.Options
	cmd := &cobra.Command{
		Use: "init", Short: "Set up tables, publication and slot; may be run again", GroupID: "work", Args: cobra.NoArgs,
		Long: "Set up wal2vec's schema and the view in the sink, the publication and the replication slot on the source. What is there\n" +
			"already is left as it is, an older schema is migrated. Every check comes before the first change.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			err = p.init(cmd.Context(), c, o)
			if o.PrintSQL { // which is for another role to run
				return err
			}
			return setup.Advise(cmd.Context(), c, p.logger(c.Log), err)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.PrintSQL, "print-sql", false, "print the statements instead of running them")
	flags.BoolVar(&o.Resync, "resync", false, "after a gap: new slot, new epoch; the next backfill refreshes every row, deletions included")
	flags.StringArrayVar(&o.GrantStream, "grant-stream", nil, "let a role run stream and backfill (may be repeated)")
	flags.StringArrayVar(&o.GrantRead, "grant-read", nil, "let a role read rows of the source table, for source.read_dsn (may be repeated)")
	flags.StringArrayVar(&o.GrantSearch, "grant-search", nil, "let a role run search and status (may be repeated)")
	flags.StringArrayVar(&o.Revoke, "revoke", nil, "take back from a role what the three options above give, before they are applied (may be repeated)")
	flags.StringArrayVar(&o.SwapRole, "swap-role", nil, "the role that gets the function that follows swapped tables, and the publication")
	exclusive(cmd, "print-sql", "resync")
	return cmd
}

func (p *program) init(ctx context.Context, c config.Config, o setup.Options) error {
	o.Opener = p.opener(c)
	s, err := setup.Prepare(ctx, c, p.logger(c.Log), o)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	if o.PrintSQL {
		text, err := s.SQL(ctx)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(p.stdout, text); err != nil {
			return fmt.Errorf("printing the statements: %w", err)
		}
		return nil
	}
	made, err := s.Make(ctx)
	if err != nil {
		return err
	}
	return p.sayReady(c, made)
}

func (p *program) sayReady(c config.Config, made setup.Outcome) error {
	word := "was set up already"
	if made.Created {
		word = "is set up"
	}
	next := "wal2vec backfill, and beside it wal2vec stream"
	if made.Gap != nil {
		log := p.logger(c.Log)
		log.Warn().Str("reason", config.Printable(made.Gap)).Str("try", "wal2vec init --resync").Msg("the pipeline has no slot that it can go on with")
		next = "wal2vec init --resync, since a stream could not go on: " + config.Printable(made.Gap)
	}
	var text strings.Builder
	for _, line := range made.Rights {
		fmt.Fprintf(&text, "%s\n", line)
	}
	_, err := fmt.Fprintf(p.stdout, "%spipeline %s %s: %s -> %s (slot %s, publication %s)\nnext: %s\n", text.String(),
		c.Pipeline, word, pgname.Visible(c.Source.Table.String()), pgname.Visible(made.View), c.Source.Slot,
		pgname.Visible(c.Source.Publication), next)
	return err
}
