package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

func newConfig(p *program) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Write a settings file for a table; show the effective configuration", GroupID: "look"}
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
		Long: "Print the effective settings with their origin, secrets masked. With --row KEY, print instead the text that stream and\n" +
			"backfill encode for that row; standard error then says what was left out because a column has no value, and gives the hash.\n" +
			"For a key of several columns, give --row once for each column, or once in the form in which all commands print such a key:\n" +
			"the parts separated by commas, a part that has a comma in double quotes: '7,\"x, y\"'.",
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

// printedRow is the JSON of config print --row; text and hash are null where the row gets no
// vector.
type printedRow struct {
	Key     []string `json:"key"`
	Deleted bool     `json:"deleted"`
	Text    *string  `json:"text"`
	Hash    *string  `json:"hash"`
	// TextBytes is the length of the whole text where Text is its head, which is all that an
	// encoder is given.
	TextBytes int `json:"text_bytes,omitempty"`
	// Refused says why a row that is too large becomes a dead letter; its hash is that of its
	// length.
	Refused *string `json:"refused,omitempty"`
	// LeftOut are the columns without a value, with the literals of the template that go with them.
	LeftOut []change.Omission `json:"left_out"`
	// OlderText is the text by the rule of older versions, where that is another: a generation that
	// they made has it.
	OlderText *string `json:"text_by_older_rule,omitempty"`
}

// rowKey reads the key from the values of --row: one for each column, each as it is, or one that
// holds them all.
func rowKey(row []string, columns int) (change.Key, error) {
	if len(row) == 1 {
		return connect.ParseKey(row[0], columns)
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
	table, err := connect.Inspect(ctx, c)
	if err != nil {
		return err
	}
	reader := connect.NewReader(c, table)
	defer reader.Close(context.WithoutCancel(ctx))
	rows, err := reader.Rows(ctx, []change.Key{key})
	if err != nil {
		return connect.UnreadableValue(err, "reading key "+key.String())
	}
	if len(rows) == 0 {
		return fault.New(fault.Usage, "", "%s has no row with key %s", pgname.Catalogue(table.Schema, table.Name), key)
	}
	return p.showRow(table.Template, rows[0], output)
}

// showRow prints a row as the template renders it.
func (p *program) showRow(template change.Template, row change.Row, output string) error {
	rendered := change.RenderRow(template, row, 0)
	text, hash := rendered.Document.Text, rendered.Document.Hash.String()
	left := template.Omissions(row.Fields)
	older, err := olderText(template, row, rendered)
	if err != nil {
		return err
	}
	if output == "json" {
		printed := printedRow{Key: row.Key.Parts(), Deleted: rendered.Deleted, LeftOut: append([]change.Omission{}, left...), OlderText: older}
		switch refusal := rendered.Document.Refusal(); {
		case refusal != "":
			printed.Refused, printed.Hash = &refusal, &hash
		case !rendered.Deleted:
			printed.Text, printed.Hash, printed.TextBytes = &text, &hash, rendered.Document.Whole
		}
		return printJSON(p.stdout, printed)
	}
	var notes strings.Builder
	switch refusal := rendered.Document.Refusal(); {
	case rendered.Deleted:
		notes.WriteString(row.WithoutVector() + ": it gets no vector\n")
	case refusal != "":
		notes.WriteString(refusal + ": it becomes a dead letter\n")
	default:
		if _, err := fmt.Fprintln(p.stdout, pgname.Visible(text)); err != nil {
			return err
		}
		if whole := rendered.Document.Whole; whole > 0 {
			fmt.Fprintf(&notes, "the first %d of %d bytes: the model is given no more\n", len(text), whole)
		}
		for _, omission := range left {
			fmt.Fprintf(&notes, "left out: %s (no value)\n", pgname.Visible(omission.Text))
		}
		if older != nil {
			fmt.Fprintf(&notes, "by the rule of older versions, which a generation of theirs keeps: %s\n", pgname.Visible(*older))
		}
		fmt.Fprintf(&notes, "hash %s\n", hash)
	}
	_, err = io.WriteString(p.stderr, notes.String())
	return err
}

// olderText is the row's text by the rule of older versions; nil where it is the same.
func olderText(template change.Template, row change.Row, rendered change.Change) (*string, error) {
	older, err := change.ParseTemplateBy(template.String(), change.RuleLiterals)
	if err != nil {
		return nil, err
	}
	was := change.RenderRow(older.Limited(template.Limit()), row, 0)
	if was.Document.Hash == rendered.Document.Hash || was.Document.Refusal() != "" {
		return nil, nil //nolint:nilnil // there is no other text
	}
	return &was.Document.Text, nil
}
