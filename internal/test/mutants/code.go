package main

import (
	"go/scanner"
	"go/token"
	"path/filepath"
	"strings"
)

// code is the text of a file without its comments, in which a mutant's text is looked for: a mutant
// breaks what the program does, and must stay found when somebody says it in other words. Only Go
// has comments here.
type code struct {
	whole, bare string
	// at says where each byte of bare stands in whole.
	at []int
}

// codeOf takes the comments out, each with the blanks before it, and with its line where it is
// alone there.
func codeOf(name, text string) code {
	c := code{whole: text}
	kept := 0
	var bare strings.Builder
	keep := func(end int) {
		for ; kept < end; kept++ {
			bare.WriteByte(text[kept])
			c.at = append(c.at, kept)
		}
	}
	for _, comment := range commentsOf(name, text) {
		begin, end := comment[0], comment[1]
		if end == len(text) || text[end] == '\n' {
			begin = len(strings.TrimRight(text[:begin], " \t"))
			if end < len(text) && (begin == 0 || text[begin-1] == '\n') {
				end++
			}
		}
		keep(begin)
		kept = max(kept, end)
	}
	keep(len(text))
	c.bare = bare.String()
	return c
}

// commentsOf returns where the comments of a Go file, or of a piece of one, begin and end.
func commentsOf(name, text string) (found [][2]int) {
	if filepath.Ext(name) != ".go" {
		return nil
	}
	file := token.NewFileSet().AddFile(name, -1, len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), func(token.Position, string) {}, scanner.ScanComments) // a piece may end within a string
	for {
		pos, kind, literal := s.Scan()
		if kind == token.EOF {
			return found
		}
		if kind == token.COMMENT {
			begin := file.Offset(pos)
			found = append(found, [2]int{begin, begin + len(literal)})
		}
	}
}

// count returns how often the code has a text.
func (c code) count(old string) int { return strings.Count(c.bare, old) }

// replace puts another text in the place of one that the code has, and returns the whole file: with
// its comments, but for those within what is replaced.
func (c code) replace(old, replacement string) string {
	i := strings.Index(c.bare, old)
	if i < 0 || old == "" {
		return c.whole
	}
	return c.whole[:c.at[i]] + replacement + c.whole[c.at[i+len(old)-1]+1:]
}
