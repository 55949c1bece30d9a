package arch_test

import (
	"path"
	"slices"
	"strings"
)

// besideFiles are what the name of a test file may begin with where it is no file of its package:
// what several tests share, tests of several commands together (e2e), of the rules of the protocol,
// and those that compare with another implementation.
var besideFiles = []string{"bench", "e2e", "export", "fuzz", "main", "oracle", "rules", "world"}

// testNames checks that a test lies where a reader looks for it: that of x.go in x_test.go, or in
// x_TOPIC_test.go where there are several.
func (c *checker) testNames(sources []*source) {
	files := map[string][]string{}
	for _, s := range sources {
		if !s.test {
			files[s.dir] = append(files[s.dir], strings.TrimSuffix(path.Base(s.name), ".go"))
		}
	}
	for _, s := range sources {
		if !s.test || strings.HasPrefix(s.dir, "internal/test/") {
			continue
		}
		name := strings.TrimSuffix(path.Base(s.name), "_test.go")
		begins := func(with string) bool { return name == with || strings.HasPrefix(name, with+"_") }
		if !begins(path.Base(s.dir)) && !slices.ContainsFunc(besideFiles, begins) && !slices.ContainsFunc(files[s.dir], begins) {
			c.reportf("%s: is named after no file of its package", s.name)
		}
	}
}
