package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
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

// visibleLines is pgname.Visible for a text whose lines and tabs are ours.
func visibleLines(text string) string {
	if pgname.Visible(text) == text {
		return text
	}
	var b strings.Builder
	for text != "" {
		end := strings.IndexAny(text, "\n\t")
		if end < 0 {
			end = len(text)
		}
		b.WriteString(pgname.Visible(text[:end]))
		if end < len(text) {
			b.WriteByte(text[end])
			end++
		}
		text = text[end:]
	}
	return b.String()
}

// screen writes what commands print for people: hidden characters that no one made visible do no
// harm there. What comes from a database, a hub or a file still goes through pgname.Visible where
// it is printed, which alone knows that a line of it is none of ours.
type screen struct {
	out io.Writer
	mu  sync.Mutex
	// part is a code point of which the rest has not been written.
	part []byte
}

// Write writes a text, and holds a code point back that is not whole.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.part, text)
	end := len(all)
	for start := max(0, end-utf8.UTFMax+1); start < end; start++ {
		if utf8.RuneStart(all[start]) && !utf8.FullRune(all[start:]) {
			end = start
			break
		}
	}
	s.part = slices.Clone(all[end:])
	if _, err := io.WriteString(s.out, visibleLines(string(all[:end]))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// unscreened is what a screen writes to; any other writer is itself.
func unscreened(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.out
	}
	return w
}

// forJSON is what JSON is written to: as it is, but on a terminal.
func forJSON(w io.Writer) io.Writer {
	if isTerminal(w) {
		return jsonScreen{unscreened(w)}
	}
	return unscreened(w)
}

// jsonScreen writes JSON so that it does a terminal no harm. Each call writes whole values.
type jsonScreen struct{ out io.Writer }

// Write writes a text with its hidden characters as escapes.
func (s jsonScreen) Write(text []byte) (int, error) {
	if _, err := io.WriteString(s.out, pgname.VisibleJSON(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// visibleFields makes the fields of a log line visible, before the console form of the log colours
// it.
func visibleFields(event map[string]any) error {
	for name, value := range event {
		clean := visibleValue(value)
		if seen := pgname.Visible(name); seen != name {
			delete(event, name)
			name = seen
		}
		event[name] = clean
	}
	return nil
}

func visibleValue(value any) any {
	switch value := value.(type) {
	case string:
		return pgname.Visible(value)
	case []any:
		for i := range value {
			value[i] = visibleValue(value[i])
		}
	case map[string]any:
		_ = visibleFields(value) // has none
	}
	return value
}
