package config

import (
	"fmt"
	"slices"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// check returns the faults of all settings but the broken ones, which have been reported.
func (c *Config) check(broken map[string]bool) FaultsError {
	var faults FaultsError
	add := func(s setting, must string) {
		if must != "" && !broken[s.path] {
			faults = append(faults, Fault{Field: s.path, Value: s.value.String(), Origin: c.Origin(s.path), Rule: must})
		}
	}
	for _, s := range c.settings() {
		switch {
		case s.rule != nil:
			add(s, s.rule())
		case s.empty == "":
			add(s, checkWord(s.value))
		}
		add(s, c.cross(s.path))
	}
	return faults
}

// checkWord makes sure of the values that Set would have refused, for a Config that was filled in
// Go.
func checkWord(v value) string {
	if _, isWord := v.(word); !isWord {
		return ""
	}
	if err := v.Set(v.String()); err != nil {
		return err.Error()
	}
	return ""
}

// cross returns what the setting must be beside the others.
func (c *Config) cross(path string) string {
	switch path {
	case "source.table":
		return when(c.Source.Table.Schema == "" || c.Source.Table.Name == "", "must be schema.name")
	case "sink.view":
		if c.SinkIsSource() && c.Sink.View == c.Source.Table {
			return "must not be the source table"
		}
		return when(c.Sink.View.Schema == "" || c.Sink.View.Name == "", "must be schema.name")
	case "source.template":
		return when(len(c.Source.Template.Columns()) == 0, "must name a column")
	case "source.soft_delete":
		return when(slices.Contains(c.Source.Key, c.Source.SoftDelete), "must not be a key column")
	case "stream.max_tokens":
		return when(c.Stream.MaxTokens < c.Encoder.RunTokens, fmt.Sprintf("must be encoder.run_tokens (%d) or more", c.Encoder.RunTokens))
	default:
		return ""
	}
}

// RequireSource fails when no one has named a source database, neither by a connection string nor
// by a PG* variable. Commands that connect call it, so that a forgotten setting is not reported as
// a refused connection to this machine.
func (c Config) RequireSource() error {
	if c.Source.DSN != "" || c.Origin("source.dsn").Kind == FromLibpq {
		return nil
	}
	return fault.New(fault.Usage, "export WAL2VEC_SOURCE_DSN=postgres://user@host:5432/database", "no source database is configured")
}
