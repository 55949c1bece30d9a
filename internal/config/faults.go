package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	// Field is the setting's path, or the unknown name as it was written.
	Field string
	// Value is the offending value, secrets masked; empty where there is none to show.
	Value string
	// Origin says where it stands.
	Origin Origin
	// Rule is the rule that it breaks, in words that follow "field = value (origin): ".
	Rule string
}

// String prints the fault in one line.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Field)
	if f.Value != "" {
		fmt.Fprintf(&b, " = %q", f.Value)
	}
	if f.Origin.Kind != FromDefault {
		fmt.Fprintf(&b, " (%s)", f.Origin)
	}
	b.WriteString(": " + f.Rule)
	return strings.Map(printableOnly, b.String()) // a rule may quote a name that holds anything
}

// printableOnly replaces what would end the line or move a terminal's cursor.
func printableOnly(r rune) rune {
	if !strconv.IsPrint(r) {
		return '\uFFFD'
	}
	return r
}

// Spelt returns a name that no one knows as far as it looks like one: what stands behind may be a
// password, or end the line.
func Spelt(name string) string {
	end := strings.IndexFunc(name, func(r rune) bool {
		return r != '.' && r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		end = len(name)
	}
	if end = min(end, maxNameBytes); end == len(name) {
		return name
	}
	return name[:end] + "…"
}

// FaultsError is everything wrong with a configuration; it is the cause of the fault.Error that
// Load returns.
type FaultsError []Fault

// Error prints one fault, or a count and one line for each.
func (fs FaultsError) Error() string {
	if len(fs) == 1 {
		return fs[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults", len(fs))
	for _, f := range fs {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}

// err returns the faults as an error of kind Usage, or nil when there are none.
func (fs FaultsError) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fault.Wrap(fs, fault.Usage, "wal2vec config reference, which lists every setting", "configuration")
}
