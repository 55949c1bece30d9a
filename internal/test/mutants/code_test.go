package main

import "testing"

func TestATextIsFoundWhateverTheCommentsSay(t *testing.T) {
	t.Parallel()
	f := func(whole, old, replacement, want string) {
		t.Helper()
		c := codeOf("a.go", whole)
		if n := c.count(old); n != 1 {
			t.Errorf("%q holds %d times %q: %q", whole, n, old, c.bare)
		}
		if got := c.replace(old, replacement); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f("x := 1 // one\ny := 2\n", "x := 1\ny", "z", "z := 2\n")
	f("x := 1 // one\ny := 2\n", "x := 1", "x := 3", "x := 3 // one\ny := 2\n")
	f("x := 1\n\t// why\n\t// and so\n\ty := 2\n", "x := 1\n\ty := 2", "z", "z\n")
	f("// y := 2\ny := 2 // y := 2\n", "y := 2", "y := 3", "// y := 2\ny := 3 // y := 2\n")
	f("f(a /* first */, b)\n", "f(a , b)", "f(b)", "f(b)\n")
	f("a := 1 /* one\n more */\nb := 2\n", "a := 1\nb", "c", "c := 2\n")
	f("a := \"http://here\" // there\n", "a := \"http://here\"\n", "b", "b")
	f("a := `\n// no comment\n`\n", "// no comment", "x", "a := `\nx\n`\n")
	f("a := '\"' // \"\nb := 1\n", "'\"'\nb", "c", "a := c := 1\n")
	f("a := 1 // the end", "a := 1", "b", "b // the end")

	if c := codeOf("a.sql", "SELECT 1 // 2 -- three\n"); c.count("1 // 2 -- three") != 1 {
		t.Errorf("%q", c.bare)
	}
}
