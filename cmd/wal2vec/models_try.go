package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// newModelsTry is the other process that opens an ONNX export first.
func newModelsTry(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "try", Short: "Open a model for another process of this program", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var trial engine.Trial
			if err := json.NewDecoder(p.stdin).Decode(&trial); err != nil { //nolint:musttag // both ends are this program
				return fault.Wrap(err, fault.Usage, "wal2vec models check", "reading what to try")
			}
			c := config.Default()
			c.Encoder, c.Log.Level = trial.Encoder, "error" // the other process tells of the rest
			e, err := engine.Opener{Log: p.logger(c.Log)}.Open(cmd.Context(), c)
			if err == nil {
				err = e.Close()
			}
			return printJSON(p.stdout, engine.VerdictOf(err))
		},
	}
}
