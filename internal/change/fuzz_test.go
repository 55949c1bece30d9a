package change_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

// FuzzTemplate parses any template and renders any values with it. A template that parses names its
// columns and says itself; its text is the same every time, has no white space around it, holds
// every value that is not blank in its order, and is empty when no value is there. A blank value
// counts as NULL.
func FuzzTemplate(f *testing.F) {
	for _, source := range []string{
		"{name}. {brand}. {category}. {description}", "{{{name}}}", "{ name }{name}", "a{b}c{d}e", "{a}", "}}{{{x}", "{", "}", "{}", "{a{b}}", "no field",
		" {a}\n", "{\"a b\"}: {ü}", "{a}}}", `{"a}b"}{ "{""" }`, "\xff{\xff}", "T: {title}. S: {summary} END", "{a} ({b}), {c}kg", "{a}、色：{b}。",
	} {
		f.Add(source, "Pen\x00\x00 blue \x00\xff")
		f.Add(source, "\x01\x00 \x00\u00a0\x00x")
	}
	f.Fuzz(func(t *testing.T, source, texts string) {
		// A configuration and a server's text output are UTF-8.
		source, texts = strings.ToValidUTF8(source, "?"), strings.ToValidUTF8(texts, "?")
		template, err := change.ParseTemplate(source)
		if err != nil {
			if template.Columns() == nil || len(template.Columns()) != 0 || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("%q: %+v, %q", source, template, err)
			}
			return
		}
		columns := template.Columns()
		if len(columns) == 0 || template.String() != source {
			t.Fatalf("%q has columns %q and says %q", source, columns, template)
		}
		for _, column := range columns {
			written, err := change.ParseTemplate(change.InTemplate(column))
			if column == "" || err != nil || !slices.Equal(written.Columns(), []string{column}) {
				t.Fatalf("%q has a column %q, which is written as %s: %v", source, column, change.InTemplate(column), err)
			}
		}
		again, err := change.ParseTemplate(template.String())
		if err != nil {
			t.Fatalf("%q does not parse again: %v", template, err)
		}
		fields := fuzzedFields(texts, len(columns))
		text := template.Render(fields)
		if text != again.Render(fields) || text != strings.TrimSpace(text) {
			t.Fatalf("%q with %+v gave %q, then %q", source, fields, text, again.Render(fields))
		}
		checkRendered(t, template, fields, text)
		older, err := change.ParseTemplateBy(source, change.RuleLiterals)
		if err != nil || template.Same(older) != (template.Rule() == change.RuleLiterals) {
			t.Fatalf("%q by the older rule: %+v, %v", source, older, err)
		}
		checkRendered(t, older, fields, older.Render(fields))
		if template.Rule() == change.RuleLiterals && older.Render(fields) != text {
			t.Fatalf("%q with %+v gives %q, by the older rule %q", source, fields, text, older.Render(fields))
		}
	})
}

// fuzzedFields cuts values out of a text, separated by zero bytes, which no value of Postgres
// holds. \x01 alone is NULL, and so is what is missing.
func fuzzedFields(texts string, n int) []change.Field {
	fields := make([]change.Field, n)
	for i, text := range strings.Split(texts, "\x00") {
		if i < n && text != "\x01" {
			fields[i] = change.Field{Text: text, State: change.FieldValue}
		}
	}
	return fields
}

func checkRendered(t *testing.T, template change.Template, fields []change.Field, text string) {
	blanked, rest, kept := make([]change.Field, len(fields)), text, false
	for i, field := range fields {
		value := strings.TrimSpace(field.Text)
		if field.State != change.FieldValue || value == "" {
			continue
		}
		blanked[i], kept = change.Field{Text: value, State: change.FieldValue}, true
		_, after, found := strings.Cut(rest, value)
		if !found {
			t.Fatalf("%q lacks %q in its place", text, value)
		}
		rest = after
	}
	if kept != (text != "") {
		t.Fatalf("%q with %+v gave %q", template, fields, text)
	}
	if got := template.Render(blanked); got != text {
		t.Fatalf("blank values and white space make a difference: %q, %q", text, got)
	}
}
