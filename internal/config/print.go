package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Entry is one effective value.
type Entry struct {
	Path  string `json:"path"`
	Value string `json:"value"` // secrets masked
	// Origin is the text form of an Origin.
	Origin string `json:"origin"`
}

// Entries lists the effective values in the order of the reference file, secrets masked.
func (c Config) Entries() []Entry {
	list := c.settings()
	entries := make([]Entry, len(list))
	for i, s := range list {
		entries[i] = Entry{Path: s.path, Value: s.value.String(), Origin: c.Origin(s.path).String()}
	}
	return entries
}

// Value is the text of a setting, named by its path, as a flag takes it; a secret is masked. It is
// empty where there is no such setting.
func (c Config) Value(path string) string {
	for _, s := range c.settings() {
		if s.path == path {
			return s.value.String()
		}
	}
	return ""
}

// Print writes the effective values as YAML, each with its origin in a comment, secrets masked.
func (c Config) Print(w io.Writer) error {
	list := c.settings()
	width := 0
	lines := make([]string, len(list))
	for i, s := range list {
		lines[i] = yamlSetting(s)
		width = max(width, min(len(lines[i]), 56))
	}
	var b strings.Builder
	section := ""
	for i, s := range list {
		section = openSection(&b, section, s.path)
		fmt.Fprintf(&b, "%-*s  # %s\n", width, lines[i], pgname.Visible(c.Origin(s.path).String()))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("printing configuration: %w", err)
	}
	return nil
}

// openSection writes the head of the section of path when it is another one, and returns its name.
func openSection(b *strings.Builder, current, path string) string {
	section, _, nested := strings.Cut(path, ".")
	if !nested {
		section = ""
	}
	if section != current {
		b.WriteString(section + ":\n")
	}
	return section
}

// yamlSetting returns the line of a setting, indented below its section.
func yamlSetting(s setting) string {
	indent, name := "", s.path
	if _, leaf, nested := strings.Cut(s.path, "."); nested {
		indent, name = "  ", leaf
	}
	if list, isList := s.value.(columns); isList {
		return indent + name + ": [" + YAMLList(*list.to) + "]"
	}
	return indent + name + ": " + YAML(s.value.String())
}

// YAMLList writes texts with commas between them, as they stand in a list of a settings file.
func YAMLList(texts []string) string {
	items := make([]string, len(texts))
	for i, text := range texts {
		items[i] = YAML(text)
	}
	return strings.Join(items, ", ")
}

// YAML writes a text as it can be pasted into a settings file: in quotes where YAML would read
// something else.
func YAML(text string) string {
	if strings.ContainsAny(text, "{}[]?,#&*!|>'\"%@`:") || strings.TrimSpace(text) != text || strings.ContainsFunc(text, unprintable) {
		quoted := strconv.Quote(text)         // every escape of Go's is one of YAML's
		if pgname.Visible(quoted) != quoted { // Go takes some characters for printed ones that take no room
			quoted = strconv.QuoteToASCII(text)
		}
		return quoted
	}
	out, err := yaml.Marshal(text)
	if err != nil {
		return `""` // a string always marshals
	}
	plain := strings.TrimSpace(string(out))
	if strings.Trim(plain, `"'`) == text && (numeric(text) || text == "true" || text == "false") {
		return text
	}
	return plain
}

func unprintable(r rune) bool { return pgname.Visible(string(r)) != string(r) }

func numeric(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// Reference returns docs/config.reference.yaml: every setting with its default, commented out, its
// meaning and its variable.
func Reference() string {
	c := Default()
	var b strings.Builder
	b.WriteString(referenceHead)
	section := ""
	for _, s := range c.settings() {
		b.WriteByte('\n')
		section = openSection(&b, section, s.path)
		indent := ""
		if section != "" {
			indent = "  "
		}
		for _, line := range s.comment() {
			b.WriteString(indent + "# " + line + "\n")
		}
		line := yamlSetting(s)
		b.WriteString(indent + "#" + strings.TrimPrefix(line, indent) + "\n")
	}
	return b.String()
}

const referenceHead = `# Every setting of wal2vec with its default. Generated from internal/config; do not edit.
#
# A flag wins over the environment, the environment over a file like this one, the file over the default. Take the # from the
# front of a line to change it. A name that is not here is an error. A .env file in the working directory is read below the
# environment, unless another account could change it, or WAL2VEC_DOTENV=off; an address from it goes with a password from it
# alone. Durations: 200ms, 10s, 5m. Sizes: 512KiB, 8MiB.
`

// comment returns the lines above a setting in the reference file.
func (s setting) comment() []string {
	lines := []string{s.help}
	if s.empty != "" {
		lines = append(lines, "Empty: "+s.empty+".")
	}
	env := "Environment: " + s.env()
	if s.file {
		leaf := s.path[strings.LastIndexByte(s.path, '.')+1:]
		env += ", or " + s.env() + "_FILE (here " + leaf + "_file) for a file that holds it"
	}
	switch {
	case s.ml == mlWatermark:
		env += "; " + s.ml + "=false sets it"
	case s.ml != "":
		env += "; also " + s.ml
	}
	return append(lines, env)
}

// Setting describes a setting to those who make flags or help of it.
type Setting struct {
	Path    string
	Env     string
	Help    string
	Default string
}

// Settings lists every setting in the order of the reference file.
func Settings() []Setting {
	c := Default()
	list := c.settings()
	settings := make([]Setting, len(list))
	for i, s := range list {
		settings[i] = Setting{Path: s.path, Env: s.env(), Help: s.help, Default: s.value.String()}
	}
	return settings
}
