package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

func newConfig(p *program) *cobra.Command {
	cmd := group(&cobra.Command{Use: "config", Short: "Show the effective configuration", GroupID: "look"})
	cmd.AddCommand(newConfigPrint(p), &cobra.Command{
		Use: "reference", Short: "Print every setting with its meaning, default and environment variable", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, config.Reference())
			return err
		},
	})
	return cmd
}

func newConfigPrint(p *program) *cobra.Command {
	var output, row string
	cmd := &cobra.Command{
		Use: "print", Short: "Print the effective settings with their origin, secrets masked", Args: cobra.NoArgs,
		Long: "Print the effective settings with their origin, secrets masked. With --row KEY, print the text that is encoded for that\n" +
			"row instead (the parts of a key of several columns: joined by commas).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("row") {
				return p.printRow(cmd, c, row)
			}
			if output == "json" {
				return printJSON(p.stdout, c.Entries())
			}
			return c.Print(p.stdout)
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&row, "row", "", "key of a row whose rendered text is printed")
	return cmd
}

// printRow shows what the encoder would see of a row.
func (p *program) printRow(cmd *cobra.Command, c config.Config, row string) error {
	ctx := cmd.Context()
	key, err := parseKey(row, len(c.Source.Key))
	if err != nil {
		return err
	}
	table, err := inspect(ctx, c)
	if err != nil {
		return err
	}
	reader := newReader(c, table)
	defer reader.Close(context.WithoutCancel(ctx))
	rows, err := reader.Rows(ctx, []change.Key{key})
	if err != nil {
		return unreadableValue(err, "reading key "+row)
	}
	if len(rows) == 0 {
		return fault.New(fault.Usage, "", "%s has no row with key %s", pgx.Identifier{table.Schema, table.Name}.Sanitize(), key)
	}
	rendered := batch.RenderRow(table.Template, rows[0], 0)
	if rendered.Deleted {
		_, err = fmt.Fprintln(p.stderr, "the row is soft-deleted or has no text: it gets no vector")
		return err
	}
	_, err = fmt.Fprintln(p.stdout, rendered.Document.Text)
	return err
}
