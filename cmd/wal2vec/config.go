package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

func newConfig(p *program) *cobra.Command {
	cmd := group(&cobra.Command{Use: "config", Short: "Write a settings file for a table; show the effective configuration", GroupID: "look"})
	cmd.AddCommand(newConfigInit(p), newConfigPrint(p), &cobra.Command{
		Use: "reference", Short: "Print every setting with its meaning, default and environment variable", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, config.Reference())
			return err
		},
	})
	return cmd
}

func newConfigPrint(p *program) *cobra.Command {
	var output string
	var row []string
	cmd := &cobra.Command{
		Use: "print", Short: "Print the effective settings with their origin, secrets masked", Args: cobra.NoArgs,
		Long: "Print the effective settings with their origin, secrets masked. With --row KEY, print the text that is encoded for that\n" +
			"row instead, as stream and backfill render it, and its hash on standard error. A key of several columns: --row once for each\n" +
			"column, or once as all commands print such a key: the parts with commas, one with a comma in double quotes: '7,\"x, y\"'.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("row") {
				return p.printRow(cmd, c, row, output)
			}
			if output == "json" {
				return printJSON(p.stdout, c.Entries())
			}
			return c.Print(p.stdout)
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringArrayVar(&row, "row", nil, "key of a row whose rendered text is printed; may be repeated, for a key of several columns")
	return cmd
}

// printedRow is the JSON of config print --row; text and hash are null where the row gets no vector.
type printedRow struct {
	Key     []string `json:"key"`
	Deleted bool     `json:"deleted"`
	Text    *string  `json:"text"`
	Hash    *string  `json:"hash"`
	// TextBytes is the length of the whole text where Text is its head, which is all that an encoder is given.
	TextBytes int `json:"text_bytes,omitempty"`
	// Refused says why a row that is too large becomes a dead letter; its hash is that of its length.
	Refused *string `json:"refused,omitempty"`
}

// rowKey reads the key from the values of --row: one for each column, each as it is, or one that holds them all.
func rowKey(row []string, columns int) (change.Key, error) {
	if len(row) == 1 {
		return parseKey(row[0], columns)
	}
	if len(row) != columns {
		return "", fault.New(fault.Usage, "give --row once for each column of the key", "the key %s has %d parts, the table's key has %d columns",
			change.KeyOf(row...), len(row), columns)
	}
	for _, part := range row {
		if strings.Contains(part, "\x00") {
			return "", fault.New(fault.Usage, "no value of PostgreSQL's holds one", "key %q holds a zero byte", part)
		}
	}
	return change.KeyOf(row...), nil
}

// printRow shows what the encoder would see of a row.
func (p *program) printRow(cmd *cobra.Command, c config.Config, row []string, output string) error {
	ctx := cmd.Context()
	key, err := rowKey(row, len(c.Source.Key))
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
		return unreadableValue(err, "reading key "+key.String())
	}
	if len(rows) == 0 {
		return fault.New(fault.Usage, "", "%s has no row with key %s", pgx.Identifier{table.Schema, table.Name}.Sanitize(), key)
	}
	rendered := batch.RenderRow(table.Template, rows[0], 0)
	text, hash := rendered.Document.Text, rendered.Document.Hash.String()
	if output == "json" {
		printed := printedRow{Key: rows[0].Key.Parts(), Deleted: rendered.Deleted}
		switch refusal := rendered.Document.Refusal(); {
		case refusal != "":
			printed.Refused, printed.Hash = &refusal, &hash
		case !rendered.Deleted:
			printed.Text, printed.Hash, printed.TextBytes = &text, &hash, rendered.Document.Whole
		}
		return printJSON(p.stdout, printed)
	}
	if rendered.Deleted {
		_, err = fmt.Fprintln(p.stderr, "the row is soft-deleted or has no text: it gets no vector")
		return err
	}
	if refusal := rendered.Document.Refusal(); refusal != "" {
		_, err = fmt.Fprintln(p.stderr, refusal+": it becomes a dead letter")
		return err
	}
	if _, err := fmt.Fprintln(p.stdout, pgname.Visible(text)); err != nil {
		return err
	}
	if whole := rendered.Document.Whole; whole > 0 {
		if _, err := fmt.Fprintf(p.stderr, "the first %d of %d bytes: the model is given no more\n", len(text), whole); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(p.stderr, "hash", hash)
	return err
}
