package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// rule is a rule of the protocol, or another promise of ARCHITECTURE.md, with the ways to break it.
type rule struct {
	name    string // R1 to R16, or a word
	says    string
	mutants []mutant
}

// mutant is one way to break a rule.
type mutant struct {
	name string
	// fails are the tests that must fail, each "package TestName" or "package TestName/subtest".
	fails []string
	edits []edit
	// equivalent says why no one can tell the mutant from the program; then the tests must pass.
	equivalent string
}

// edit replaces a text that occurs exactly once in the code of a file of the checkout; see code.
type edit struct{ file, old, new string }

// apply returns the changed files of a mutant: name to content.
func (m mutant) apply(root string) (map[string]string, error) {
	changed := make(map[string]string)
	for _, e := range m.edits {
		text, found := changed[e.file]
		if !found {
			content, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, fmt.Errorf("mutant %q: %w", m.name, err)
			}
			text = string(content)
		}
		c := codeOf(e.file, text)
		if n := c.count(e.old); n != 1 {
			return nil, fmt.Errorf("mutant %q: %s holds %d times the text\n%s", m.name, e.file, n, e.old)
		}
		changed[e.file] = c.replace(e.old, e.new)
	}
	if len(changed) == 0 {
		return nil, fmt.Errorf("mutant %q changes nothing", m.name)
	}
	return changed, nil
}

// packages returns the packages of the tests, each with the tests' names.
func (m mutant) packages() map[string][]string { return byPackage(m.fails) }

func byPackage(tests []string) map[string][]string {
	out := make(map[string][]string)
	for _, test := range tests {
		folder, name, _ := strings.Cut(test, " ")
		if !slices.Contains(out[folder], name) {
			out[folder] = append(out[folder], name)
		}
	}
	return out
}

// pattern selects tests for -run: whole tests, or subtests when every name is that of one.
func pattern(names []string) string {
	var tests, subtests []string
	for _, name := range names {
		test, subtest, found := strings.Cut(name, "/")
		tests = append(tests, regexp.QuoteMeta(test))
		if found {
			subtests = append(subtests, regexp.QuoteMeta(subtest))
		}
	}
	slices.Sort(tests)
	out := "^(" + strings.Join(slices.Compact(tests), "|") + ")$"
	if len(subtests) == len(names) {
		out += "/^(" + strings.Join(subtests, "|") + ")$"
	}
	return out
}
