package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

func newDeadLetter(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead-letter", Short: "Show, retry and drop the rows whose text cannot be encoded", GroupID: "look",
		Long: "When the encoder refuses the text of a row, but encodes others, the row is set aside as a dead letter: its old vector is\n" +
			"removed, and the rest of its batch is written. Key, reason and a hash of the text are kept, the text is not. A dead letter is\n" +
			"removed when the row gets another text or is deleted, or when a retry or a backfill encodes it.",
	}
	cmd.AddCommand(newDeadLetterList(p), newDeadLetterRetry(p), newDeadLetterDrop(p))
	return cmd
}

func newDeadLetterList(p *program) *cobra.Command {
	var output string
	var k int64
	cmd := &cobra.Command{
		Use: "list", Short: "List the dead letters, the latest first", Args: cobra.NoArgs,
		Long: "List the dead letters, the latest first. The fields of -o json are described in docs/status.md.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if k < 1 {
				return fault.New(fault.Usage, "-k 100", "-k must be 1 or more")
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.listDeadLetters(cmd.Context(), c, k, output)
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().Int64VarP(&k, "limit", "k", 100, "dead letters to list at most")
	return cmd
}

// deadLetter is a dead letter in JSON; its names are a contract.
type deadLetter struct {
	Key      []string   `json:"key"`
	Since    time.Time  `json:"since"`
	Last     time.Time  `json:"last"`
	Attempts int        `json:"attempts"`
	LSN      change.LSN `json:"lsn"`
	TextHash string     `json:"text_hash"`
	// Generation is the one whose model refuses the text.
	Generation int    `json:"generation"`
	Reason     string `json:"reason"`
}

func (p *program) listDeadLetters(ctx context.Context, c config.Config, k int64, output string) error {
	store, err := connect.OpenStore(ctx, c, p.logger(c.Log), "dead-letter")
	if err != nil {
		return err
	}
	defer store.Close()
	letters, damaged := store.DeadLetters(ctx, k+1)
	if damaged != nil && !errors.Is(damaged, sink.ErrDamagedLetters) {
		return damaged
	}
	more := int64(len(letters)) > k
	letters = letters[:min(int64(len(letters)), k)]
	if output == "json" {
		out := make([]deadLetter, len(letters))
		for i, d := range letters {
			out[i] = deadLetter{
				Key: d.Key.Parts(), Since: d.FirstAt.UTC(), Last: d.LastAt.UTC(), Attempts: d.Attempts, LSN: d.Version.LSN,
				TextHash: d.Hash.String(), Generation: d.Generation, Reason: d.Reason,
			}
		}
		return errors.Join(printJSON(p.stdout, out), damaged)
	}
	return errors.Join(p.printDeadLetters(letters, more), damaged)
}

func (p *program) printDeadLetters(letters []sink.DeadLetter, more bool) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(p.stdout, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "key\tsince\tattempts\tlsn\ttext hash\tgeneration\treason")
	for _, d := range letters {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\n",
			d.Key.String(), d.FirstAt.UTC().Format(time.RFC3339), d.Attempts, d.Version.LSN, d.Hash, d.Generation, pgname.Visible(d.Reason))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the dead letters: %w", err)
	}
	if more {
		_, err := fmt.Fprintf(p.stdout, "and more: wal2vec dead-letter list -k %d\n", 10*len(letters))
		return err
	}
	return nil
}

// letterChoice names dead letters on the command line.
type letterChoice struct {
	keys []string
	all  bool
}

func (o *letterChoice) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.keys, "key", nil, "key of a dead letter as list shows it, parts with commas: '7,\"x, y\"'; may be given several times")
	cmd.Flags().BoolVar(&o.all, "all", false, "every dead letter")
	exclusive(cmd, "key", "all")
}

func (o *letterChoice) check(cmd *cobra.Command) error {
	if !o.all && len(o.keys) == 0 {
		return fault.New(fault.Usage, cmd.CommandPath()+" --all", "%s: name the dead letters by --key, or take --all", cmd.CommandPath())
	}
	return nil
}

func (o *letterChoice) letters() backfill.Letters { return backfill.Letters{Keys: o.keys, All: o.all} }

func newDeadLetterDrop(p *program) *cobra.Command {
	var o letterChoice
	var yes bool
	cmd := &cobra.Command{
		Use: "drop", Short: "Forget dead letters", Args: cobra.NoArgs,
		Long: "Forget dead letters. Their rows stay without a vector until they change; status counts them as stale and audit as missing. The next\n" +
			"backfill, or audit --repair, tries them again, and makes dead letters of those that fail again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if o.all && !yes {
				return fault.New(fault.Usage, "wal2vec dead-letter drop --all --yes", "this forgets every dead letter")
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.dropDeadLetters(cmd.Context(), c, o)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "really drop all")
	return cmd
}

func (p *program) dropDeadLetters(ctx context.Context, c config.Config, o letterChoice) error {
	store, err := connect.OpenStore(ctx, c, p.logger(c.Log), "dead-letter")
	if err != nil {
		return err
	}
	defer store.Close()
	var dropped []change.Key
	if o.all {
		dropped, err = store.DropAllDeadLetters(ctx)
	} else {
		var keys []change.Key
		if keys, err = o.letters().Find(ctx, store.Sink); err != nil {
			return err
		}
		dropped, err = store.DropDeadLetters(ctx, keys)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "dropped %s; a row stays without a vector until it changes; "+
		"the next backfill or audit --repair tries it again, and what fails is a dead letter again\n",
		counted(len(dropped), "dead letter"))
	return err
}
