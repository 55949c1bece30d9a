package main

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

func newModels(p *program) *cobra.Command {
	cmd := group(&cobra.Command{Use: "models", Short: "List, build and check models", GroupID: "manage"})
	var output string
	list := &cobra.Command{
		Use: "list", Short: "List the graphs in the cache, each checked against its manifest", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return p.listModels(cmd, output)
		},
	}
	outputFlag(list, &output)
	build := &cobra.Command{
		Use: "build [MODEL]", Short: "Write the ONNX graph of a checkpoint into the cache", Args: cobra.MaximumNArgs(1),
		Long: "Write the ONNX graph of a checkpoint (a folder in Hugging Face form, or a name among the parts) into the cache, unless a\n" +
			"whole one is there. Other commands do this by themselves.",
		RunE: func(cmd *cobra.Command, args []string) error {
			parts, checkpoint, err := p.checkpoint(args)
			if err != nil {
				return err
			}
			graph, err := models.Build(cmd.Context(), checkpoint, parts.GraphCache, cpuTarget)
			if err != nil {
				return err
			}
			word := "in the cache"
			if graph.Built {
				word = "built"
			}
			_, err = fmt.Fprintf(p.stdout, "%s %s: %s\n", checkpoint.Name(), word, graph.Path)
			return err
		},
	}
	check := &cobra.Command{
		Use: "check [MODEL]", Short: "Load a model and encode the reference texts with it", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				c.Encoder.Model = args[0]
			}
			e, err := p.openEncoder(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer e.Close()
			_, err = fmt.Fprintf(p.stdout, "%s: ok (%s, dimension %d, fingerprint %s)\n",
				e.checkpoint.Name(), e.Stats().Device, e.Dimension(), e.checkpoint.Fingerprint())
			return err
		},
	}
	cmd.AddCommand(list, build, check)
	return cmd
}

// cpuTarget is the only graph there is.
var cpuTarget = models.Target{Device: models.DeviceCPU, Precision: models.PrecisionFP32}

func (p *program) checkpoint(args []string) (config.Parts, *models.Checkpoint, error) {
	c, err := p.load()
	if err != nil {
		return config.Parts{}, nil, err
	}
	if len(args) == 1 {
		c.Encoder.Model = args[0]
	}
	parts, err := findParts()
	if err != nil {
		return parts, nil, err
	}
	checkpoint, err := openCheckpoint(parts, c)
	return parts, checkpoint, err
}

type modelReport struct {
	models.Manifest
	Folder string `json:"folder"`
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
}

func (p *program) listModels(cmd *cobra.Command, output string) error {
	parts, err := findParts()
	if err != nil {
		return err
	}
	folders, err := models.List(parts.GraphCache)
	if err != nil {
		return err
	}
	reports := make([]modelReport, len(folders))
	damaged := 0
	for i, folder := range folders {
		graph, err := models.Check(cmd.Context(), folder)
		reports[i] = modelReport{Manifest: graph.Manifest, Folder: folder, OK: err == nil}
		if err != nil {
			reports[i].Error = err.Error()
			damaged++
		}
	}
	if output == "json" {
		err = printJSON(p.stdout, reports)
	} else {
		err = p.printModels(reports)
	}
	if err == nil && damaged > 0 {
		return fault.New(fault.Findings, "wal2vec models build", "%d graphs in the cache are damaged", damaged)
	}
	return err
}

func (p *program) printModels(reports []modelReport) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "MODEL\tTARGET\tDIMENSION\tTOKENS\tMIB\tFINGERPRINT\tSTATE")
	for _, r := range reports {
		state := "ok"
		if !r.OK {
			state = r.Error
		}
		name := r.Model
		if name == "" {
			name = filepath.Base(r.Folder)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", name, r.Target, r.Dimension, r.MaxTokens, r.GraphBytes>>20, r.Fingerprint, state)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}
