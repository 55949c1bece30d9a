package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// starting are the settings that a settings file for one table names, wherever their values come
// from.
var starting = []string{"pipeline", "source.table", "source.key", "source.template", "source.soft_delete", "sink.view"}

// Starter writes a settings file for the configuration: what names the table and its pipeline, and
// what flags set or the settings file at path did. It holds no secret and no connection string,
// which may have a password in it. Notes are lines of comments above settings, by their paths.
func (c Config) Starter(path string, notes map[string][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of wal2vec for %s. wal2vec config reference explains every setting, and names those that are not here.\n",
		pgname.Visible(c.Source.Table.String()))
	section := ""
	for _, s := range c.settings() {
		o := c.Origin(s.path)
		wanted := o.Kind == FromFlag || o.Kind == FromFile && o.File == path
		for _, name := range starting {
			wanted = wanted || name == s.path
		}
		lines := notes[s.path]
		if s.file { // its value may be a secret
			wanted = false
		}
		if !wanted && len(lines) == 0 {
			continue
		}
		section = openSection(&b, section, s.path)
		indent := ""
		if section != "" {
			indent = "  "
		}
		for _, line := range lines {
			b.WriteString(strings.TrimRight(indent+"# "+pgname.Visible(line), " ") + "\n")
		}
		if wanted {
			b.WriteString(yamlSetting(s) + "\n")
		}
	}
	return b.String()
}

// Columns writes a list of columns as source.key takes it from a flag or the environment.
func Columns(columns []string) string { return formatColumns(columns) }

// PipelineFor proposes the name of a pipeline for a table: article_embeddings for public.article. A
// name of which nothing can stay becomes a hash.
func PipelineFor(table Name) string {
	standard := Default()
	if table == standard.Source.Table {
		return standard.Pipeline
	}
	const suffix, most = "_embeddings", 40
	var b strings.Builder
	for _, r := range strings.ToLower(table.Name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	name := b.String()
	name = strings.Trim(name[:min(len(name), most-len(suffix))], "_")
	if name == "" {
		sum := sha256.Sum256([]byte(table.String()))
		name = "table_" + hex.EncodeToString(sum[:4])
	}
	return name + suffix
}
