package arch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// lintFile is what is looked at of .golangci.yml.
type lintFile struct {
	Linters struct {
		Settings struct {
			Gosec struct {
				Excludes []string `yaml:"excludes"`
				Includes []string `yaml:"includes"`
			} `yaml:"gosec"`
		} `yaml:"settings"`
		Exclusions struct {
			Rules []struct {
				Path    string   `yaml:"path"`
				Text    string   `yaml:"text"`
				Linters []string `yaml:"linters"`
			} `yaml:"rules"`
		} `yaml:"exclusions"`
	} `yaml:"linters"`
}

// TestArchitectureNamesTheRulesOfGosecThatAreOff, all of them and no other: for every file, and for
// some.
func TestArchitectureNamesTheRulesOfGosecThatAreOff(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		content, err := os.ReadFile(filepath.Join("..", "..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var lint lintFile
	if err := yaml.Unmarshal([]byte(read(".golangci.yml")), &lint); err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`G\d{3}`)
	off := slices.Clone(lint.Linters.Settings.Gosec.Excludes)
	for _, exclusion := range lint.Linters.Exclusions.Rules {
		if !slices.Contains(exclusion.Linters, "gosec") {
			continue
		}
		off = append(off, rule.FindAllString(exclusion.Text, -1)...)
		if exclusion.Text == "" && exclusion.Path != `(_test\.go$|^internal/test/pgtest/)` {
			t.Errorf("all of gosec is off for %s, which ARCHITECTURE.md does not say", exclusion.Path)
		}
	}
	if len(off) == 0 || len(lint.Linters.Settings.Gosec.Includes) > 0 {
		t.Fatalf("off are %q, and only %q are on", off, lint.Linters.Settings.Gosec.Includes)
	}
	_, said, _ := strings.Cut(read("ARCHITECTURE.md"), "runs gosec")
	said, _, _ = strings.Cut(said, "\n- ")
	named := rule.FindAllString(said, -1)
	slices.Sort(off)
	slices.Sort(named)
	if off, named := slices.Compact(off), slices.Compact(named); !slices.Equal(off, named) {
		t.Errorf("ARCHITECTURE.md names %q, .golangci.yml has off %q", named, off)
	}
}
