package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// outputFlag adds -o to a command that reports.
func outputFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "output", "o", "table", "form of the result: table or json")
}

// counted is a number of things; "s" makes more of one.
func counted[N int | int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fault.New(fault.Usage, "-o json", "--output %q: must be table or json", output)
	}
	return nil
}

// printJSON writes a value; on a terminal its hidden characters are JSON's escapes.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(forJSON(w))
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}
