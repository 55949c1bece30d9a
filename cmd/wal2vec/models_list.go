package main

import (
	"context"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/models"
)

// modelsReport is what models list reports; its JSON names are a contract.
type modelsReport struct {
	Checkpoints []checkpointReport `json:"checkpoints"`
	Graphs      []graphReport      `json:"graphs"`
}

// checkpointReport is a model folder among the parts.
type checkpointReport struct {
	Model         string         `json:"model"`
	Folder        string         `json:"folder"`
	Fingerprint   string         `json:"fingerprint,omitempty"`
	Dimension     int            `json:"dimension,omitempty"`
	MaxTokens     int            `json:"max_tokens,omitempty"`
	Export        bool           `json:"export"`
	Pooling       models.Pooling `json:"pooling,omitempty"`
	Normalised    bool           `json:"normalised"`
	QueryPrefix   string         `json:"query_prefix"`
	PassagePrefix string         `json:"passage_prefix"`
	OK            bool           `json:"ok"`
	Error         string         `json:"error,omitempty"`
}

// graphReport is a graph in the cache.
type graphReport struct {
	models.Manifest
	Folder string `json:"folder"`
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
}

func newModelsList(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the checkpoints among the parts, and the graphs in the cache", Args: cobra.NoArgs,
		Long: "List the checkpoints among the parts, each with how wal2vec runs it or why it cannot, and the graphs in the cache, each checked\n" +
			"against its manifest. A damaged graph ends the command with exit code 3; a checkpoint that is not supported does not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return p.listModels(cmd.Context(), output)
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) listModels(ctx context.Context, output string) error {
	parts, err := connect.FindParts()
	if err != nil {
		return err
	}
	report := modelsReport{Checkpoints: listCheckpoints(parts)}
	var damaged int
	if report.Graphs, damaged, err = listGraphs(ctx, parts); err != nil {
		return err
	}
	if output == "json" {
		err = printJSON(p.stdout, report)
	} else {
		err = p.printModels(report)
	}
	if err == nil && damaged > 0 {
		return fault.New(fault.Findings, "wal2vec models build", "%d graphs in the cache are damaged", damaged)
	}
	return err
}

func listCheckpoints(parts assets.Parts) []checkpointReport {
	reports := []checkpointReport{}
	for _, name := range parts.Models() {
		r := checkpointReport{Model: name, Folder: filepath.Join(parts.ModelDir, name)}
		c, err := models.Open(r.Folder)
		if err != nil {
			r.Error = err.Error()
			reports = append(reports, r)
			continue
		}
		r.OK, r.Fingerprint, r.Dimension, r.MaxTokens, r.Export = true, c.Fingerprint(), c.Dimension(), c.MaxTokens(), c.Export()
		r.Pooling, r.Normalised, r.QueryPrefix, r.PassagePrefix = c.Pooling(), c.Normalised(), c.QueryPrefix(), c.PassagePrefix()
		reports = append(reports, r)
	}
	return reports
}

func listGraphs(ctx context.Context, parts assets.Parts) (reports []graphReport, damaged int, err error) {
	if parts.GraphCache == "" {
		return []graphReport{}, 0, nil
	}
	folders, err := models.List(parts.GraphCache)
	if err != nil {
		return nil, 0, err
	}
	reports = make([]graphReport, len(folders))
	for i, folder := range folders {
		graph, err := models.Check(ctx, folder)
		reports[i] = graphReport{Manifest: graph.Manifest, Folder: folder, OK: err == nil}
		if err != nil {
			reports[i].Error = err.Error()
			damaged++
		}
	}
	return reports, damaged, nil
}

func (p *program) printModels(report modelsReport) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CHECKPOINT\tFORM\tDIMENSION\tTOKENS\tPOOLING\tFINGERPRINT\tSTATE") // Flush reports
	for _, r := range report.Checkpoints {
		form, pooling, state := "weights", string(r.Pooling), "ok"
		if r.Export {
			form = "export"
		}
		if r.Normalised {
			pooling += ", length 1"
		}
		if !r.OK {
			form, pooling, state = "-", "-", r.Error
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n",
			pgname.Visible(r.Model), form, r.Dimension, r.MaxTokens, pooling, r.Fingerprint, pgname.Visible(state))
	}
	_, _ = fmt.Fprintln(w, "\nGRAPH\tTARGET\tDIMENSION\tTOKENS\tMIB\tFINGERPRINT\tSTATE")
	for _, r := range report.Graphs {
		state := "ok"
		if !r.OK {
			state = pgname.Visible(r.Error)
		}
		name := pgname.Visible(r.Model)
		if name == "" {
			name = pgname.Visible(filepath.Base(r.Folder))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", name, r.Target, r.Dimension, r.MaxTokens, r.GraphBytes>>20, r.Fingerprint, state)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}
