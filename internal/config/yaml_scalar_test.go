package config_test

import (
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// TestAValueIsPastedIntoASettingsFile as one visible line that YAML reads back as that text, alone
// and in a list.
func TestAValueIsPastedIntoASettingsFile(t *testing.T) {
	t.Parallel()
	f := func(t rapid.TB, text string) {
		t.Helper()
		line := config.YAML(text)
		var got struct {
			A string   `yaml:"a"`
			B []string `yaml:"b"`
		}
		err := yaml.Unmarshal([]byte("a: "+line+"\nb: ["+line+", "+line+"]\n"), &got)
		if err != nil || got.A != text || len(got.B) != 2 || got.B[1] != text || pgname.Visible(line) != line {
			t.Errorf("%q is written as %s, which reads %q, %v", text, line, got, err)
		}
	}
	for _, text := range []string{
		"", "plain", "a b", "null", "true", "1", "~", "- a", "-", "? a", "a: b", "a #b", "'", `"`, `\`, "a\nb", "{name}. {brand}", "\u202eab", "\x1b[2J", "=", "<<",
		"!tag", "&a", "*a", "%a", "@a", "`a`", "no", "0x1f", "1e3", "2001-01-01", " a ", "a\t", "\u2028", "\ufeff", "a\ufe0f", "A?",
	} {
		f(t, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		if utf8.ValidString(text) {
			f(t, text)
		}
	})
}
