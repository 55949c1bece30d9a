package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/host"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

func newStream(p *program) *cobra.Command {
	var untilCurrent bool
	cmd := &cobra.Command{
		Use: "stream", Short: "Follow the table until stopped", GroupID: "work", Args: cobra.NoArgs,
		Long: "Follow the table: every committed change is encoded and searchable within milliseconds. SIGINT or SIGTERM drains what\n" +
			"was taken in and stops; a second one stops at once. Nothing is lost either way: the next start goes on from the watermark.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.stream(cmd.Context(), c, untilCurrent)
		},
	}
	cmd.Flags().BoolVar(&untilCurrent, "until-current", false, "end when everything committed before the start is in the sink (for cron and Prefect)")
	return cmd
}

func (p *program) stream(ctx context.Context, c config.Config, untilCurrent bool) error {
	log := p.logger(c.Log)
	f, err := follow.Open(ctx, p.followOptions(c))
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	stream := f.NewStream(untilCurrent)
	var totals pipeline.Totals
	if untilCurrent {
		totals, err = f.RefreshBeside(ctx, stream)
	} else {
		totals, err = host.Run(ctx, f, stream)
	}
	log.Info().Func(func(e *zerolog.Event) {
		if totals.Watermark != 0 { // else it ended before a session had one
			e.Stringer("lsn", totals.Watermark)
		}
	}).Int64("batches", totals.Batches).Int64("events", totals.Events).
		Int64("encoded", totals.TextsEncoded).Int64("failed", totals.TextsFailed).Dur("took", totals.Duration.Round(time.Millisecond)).Msg("stream ended")
	if err == nil && untilCurrent && !totals.Current {
		return fault.New(fault.Unavailable, "start it again: nothing is lost", "stopped at %s, before it was up to date", totals.Watermark)
	}
	if err == nil && totals.Current {
		failed := ""
		if totals.TextsFailed > 0 {
			failed = fmt.Sprintf(", %s could not be encoded (wal2vec dead-letter list)", counted(totals.TextsFailed, "text"))
		}
		_, err = fmt.Fprintf(p.stdout, "up to date at %s: %d upserts, %d deletes, %d texts encoded%s, %d batches, %s\n",
			totals.Watermark, totals.Upserts, totals.Deletes, totals.TextsEncoded, failed, totals.Batches, totals.Duration.Round(time.Millisecond))
	}
	return err
}

// followOptions are what this process opens a stream with.
func (p *program) followOptions(c config.Config) follow.Options {
	build := buildVersion()
	return follow.Options{Config: c, Log: p.logger(c.Log), Opener: p.opener(c), Version: build.Version, Commit: build.Commit}
}
