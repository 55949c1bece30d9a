package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/models/hub"
)

// pulledModel is what models pull reports; its JSON names are a contract.
type pulledModel struct {
	Model       string `json:"model"`
	Name        string `json:"name"`
	Revision    string `json:"revision"`
	Commit      string `json:"commit,omitempty"`
	Folder      string `json:"folder"`
	Files       int    `json:"files"`
	Bytes       int64  `json:"bytes"`
	Fingerprint string `json:"fingerprint"`
	Dimension   int    `json:"dimension"`
}

func newModelsPull(p *program) *cobra.Command {
	var output string
	var replace bool
	cmd := &cobra.Command{
		Use: "pull NAME[@REVISION]", Short: "Fetch a checkpoint from a hub into the parts", Args: cobra.ExactArgs(1),
		Long: "Fetch a checkpoint's files from the hub of the setting encoder.hub and put them among the parts, where encoder.model finds it\n" +
			"by its name. Every file is compared with the size and the hash that the hub gives, and none may be too large.\n" +
			"A token is sent over https alone, or to this machine. The checkpoint appears whole or not at all.",
		Example: `  wal2vec models pull sentence-transformers/all-MiniLM-L6-v2
  wal2vec models pull BAAI/bge-small-en-v1.5@main`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			reference, err := hub.ParseReference(args[0])
			if err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			pulled, err := p.pullModel(cmd.Context(), c, reference, replace)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(p.stdout, pulled)
			}
			_, err = fmt.Fprintf(p.stdout, "%s: %s (dimension %d, fingerprint %s)\n", pulled.Name, pulled.Folder, pulled.Dimension, pulled.Fingerprint)
			return err
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&replace, "replace", false, "replace an existing model of this name")
	return cmd
}

func (p *program) pullModel(ctx context.Context, c config.Config, reference hub.Reference, replace bool) (pulledModel, error) {
	address, token, err := c.HubAccess()
	if err != nil {
		return pulledModel{}, err
	}
	parts, err := connect.FindParts()
	if err != nil {
		return pulledModel{}, err
	}
	folder := parts.ModelDir
	if folder == "" {
		folder = filepath.Join(parts.Root, "model")
	}
	progress := p.newPullProgress()
	got, err := hub.Pull(ctx, hub.Options{
		Address: address, Token: token.Reveal(), Model: reference, Folder: folder, Replace: replace,
		Name: c.HubFolder(reference.Folder()), Progress: progress.report,
	})
	progress.close()
	if err != nil {
		return pulledModel{}, err
	}
	return pulledModel{
		Model: reference.Name, Name: got.Checkpoint.Name(), Revision: reference.Revision, Commit: got.Commit, Folder: got.Folder,
		Files: got.Files, Bytes: got.Bytes, Fingerprint: got.Checkpoint.Fingerprint(), Dimension: got.Checkpoint.Dimension(),
	}, nil
}

// pullProgress shows on standard error how far each file is: a bar on a terminal, else a line when
// it begins.
type pullProgress struct {
	program *program
	bars    *mpb.Progress // nil without a terminal
	bar     *mpb.Bar
	file    string
}

func (p *program) newPullProgress() *pullProgress {
	progress := &pullProgress{program: p}
	if isTerminal(p.stderr) {
		progress.bars = mpb.New(mpb.WithOutput(unscreened(p.stderr)), mpb.WithWidth(40))
	}
	return progress
}

func (r *pullProgress) report(file string, done, total int64) {
	if file != r.file {
		r.end()
		r.begin(file, total)
	}
	if r.bar != nil {
		r.bar.SetCurrent(done)
	}
}

func (r *pullProgress) begin(file string, total int64) {
	r.file = file
	if r.bars != nil {
		r.bar = r.bars.AddBar(total, // 0 or less: not known
			mpb.PrependDecorators(decor.Name("  "+pgname.Visible(file), decor.WCSyncSpaceR), decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f")))
		return
	}
	size := ""
	if total >= 0 {
		size = fmt.Sprintf(", %d bytes", total)
	}
	_, _ = fmt.Fprintf(r.program.stderr, "fetching %s%s\n", pgname.Visible(file), size)
}

// end fills the bar of the file that another one follows: that file is whole.
func (r *pullProgress) end() {
	if r.bar != nil {
		r.bar.SetTotal(-1, true)
		r.bar = nil
	}
}

// close leaves the last bar as it is: whether its file is whole is for the result to say.
func (r *pullProgress) close() {
	if r.bars == nil {
		return
	}
	if r.bar != nil && !r.bar.Completed() {
		r.bar.Abort(false)
	}
	r.bars.Wait()
}
