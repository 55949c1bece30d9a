package change_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
)

// TestALabelGoesWithItsOwnValue: the examples of docs/template.md, and the cases beside them.
// Fields are words; "-" is NULL.
func TestALabelGoesWithItsOwnValue(t *testing.T) {
	f := func(source, values, want string, left ...string) {
		t.Helper()
		template, err := change.ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		fields := fieldsFrom(values)
		if got := template.Render(fields); got != want {
			t.Errorf("%q with %s = %q, want %q", source, values, got, want)
		}
		var got []string
		for _, o := range template.Omissions(fields) {
			got = append(got, o.Text)
		}
		if !slices.Equal(got, left) {
			t.Errorf("%q with %s leaves out %q, want %q", source, values, got, left)
		}
	}
	const labelled = "T: {title}. S: {summary} END"
	f(labelled, "a b", "T: a. S: b END")
	f(labelled, "- b", "S: b END", "T: {title}")
	f(labelled, "a -", "T: a END", "S: {summary}")
	f(labelled, "- -", "", "T: {title}", "S: {summary}")
	const plain = "{name}. {brand}. {category}"
	f(plain, "a - c", "a. c", "{brand}")
	f(plain, "- b c", "b. c", "{name}")
	f(plain, "a b -", "a. b", "{category}")
	f("{name} ({brand}), {weight}kg", "a - 3", "a, 3kg", "({brand})")
	f("{name} ({brand}), {weight}kg", "a b -", "a (b)", "{weight}kg")
	f("{name} ({brand}), {weight}kg", "- b 3", "(b), 3kg", "{name}")
	f("{name}, made by {brand} in {country}.", "a - c", "a in c.", "made by {brand}")
	f("{name}, made by {brand} in {country}.", "- b -", "made by b.", "{name}", "in {country}")
	f("Name: {name}\nBrand: {brand}\n", "- b", "Brand: b", "Name: {name}")
	f("Name: {name}\nBrand: {brand}\n", "a b", "Name: a\nBrand: b")
	f("{w}x{h}", "2 3", "2x3")
	f("{w}x{h}", "2 -", "2", "{h}")
	f("{w}x{h}", "- 3", "3", "{w}")
	f(`"{a}" "{b}"`, "- b", `"b"`, `"{a}"`)
	f("{sku} #{tag} {off}% off", "s - -", "s off", "#{tag}", "{off}%")
	f("{a} > {b} / {c}", "- b c", "b / c", "{a}")
	f("名前：{a}、色：{b}。", "- b", "色：b。", "名前：{a}")
	f(" <{a}> ", "a", "<a>")
	f("Only: {a} end", "-", "", "Only: {a}")
}

func fieldsFrom(values string) []change.Field {
	var fields []change.Field
	for value := range strings.FieldsSeq(values) {
		if value == "-" {
			fields = append(fields, change.Field{})
		} else {
			fields = append(fields, change.Field{Text: value, State: change.FieldValue})
		}
	}
	return fields
}

// TestOnlyATemplateWithALabelHasTheNewRule: any other has the texts, and so the fingerprint, of
// older versions.
func TestOnlyATemplateWithALabelHasTheNewRule(t *testing.T) {
	f := func(source string, want int) {
		t.Helper()
		template, err := change.ParseTemplate(source)
		if err != nil || template.Rule() != want {
			t.Errorf("%q goes by rule %d, %v, want %d", source, template.Rule(), err, want)
		}
		older, err := change.ParseTemplateBy(source, change.RuleLiterals)
		if err != nil || older.Rule() != change.RuleLiterals || older.Same(template) != (want == change.RuleLiterals) {
			t.Errorf("%q by the older rule: rule %d, %v", source, older.Rule(), err)
		}
	}
	for _, source := range []string{
		"{name}. {brand}. {category}. {description}", "{a}", "Only: {a} end", "({a})", "{a}{b}", "{a}x{b}", " {a}\n{b} ", "{a} > {b} / {c}. The end.", "{a} ({a})",
	} {
		f(source, change.RuleLiterals)
	}
	for _, source := range []string{"T: {a} {b}", "{a}. S: {b}", "{a} ({b}", "{a}) {b}", "{a} {b}kg", "{a} {b})", "#{a} {b}"} {
		f(source, change.RuleLabels)
	}
	for _, rule := range []int{-1, 0, 3} {
		if _, err := change.ParseTemplateBy("{a}", rule); err == nil {
			t.Errorf("rule %d is taken", rule)
		}
	}
}

// oracle renders by a scan of the template that knows nothing of its parts: older is the rule of
// versions before labels.
func oracle(source string, fields []change.Field, older bool) string {
	literals := []string{""}
	for inside := false; source != ""; source = source[1:] {
		switch {
		case source[0] == '{':
			inside, literals = true, append(literals, "")
		case source[0] == '}':
			inside = false
		case !inside:
			literals[len(literals)-1] += source[:1]
		}
	}
	text, kept := "", false
	for i, field := range fields {
		value := strings.TrimSpace(field.Text)
		if value == "" {
			continue
		}
		before := literals[i]
		switch {
		case older && !kept:
			before = literals[0]
		case !older && i > 0:
			before = strings.TrimPrefix(before, unitIn(before, false))
			if !kept {
				before = strings.TrimLeft(before, separators)
				if !strings.ContainsAny(literals[i], separators) {
					before = ""
				}
			}
		}
		text, kept = text+before+value, true
		if !older {
			text += unitIn(literals[i+1], i == len(fields)-1)
		}
	}
	if !kept {
		return ""
	}
	end := literals[len(fields)]
	if !older {
		end = strings.TrimPrefix(end, unitIn(end, true))
	}
	return strings.TrimSpace(text + end)
}

// separators are those of the alphabet.
const separators = " .,:-\n"

func unitIn(literal string, last bool) string {
	at := strings.IndexAny(literal, separators)
	switch {
	case at >= 0:
		return literal[:at]
	case last:
		return literal
	default:
		return ""
	}
}

// TestRenderingAgreesWithAnOracle by both rules; where the template has no label, both are one.
func TestRenderingAgreesWithAnOracle(t *testing.T) {
	literal := rapid.StringOf(rapid.RuneFrom([]rune(` .,:-ab()"%` + "\n")))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "columns")
		var source strings.Builder
		var fields []change.Field
		for i := range n {
			source.WriteString(literal.Draw(t, "literal") + "{c" + string(rune('0'+i)) + "}")
			field := change.Field{}
			if value := rapid.SampledFrom([]string{"", "X", " Y ", "  "}).Draw(t, "value"); value != "" {
				field = change.Field{Text: value, State: change.FieldValue}
			}
			fields = append(fields, field)
		}
		source.WriteString(literal.Draw(t, "end"))
		template, err := change.ParseTemplate(source.String())
		if err != nil {
			t.Fatal(err)
		}
		older, err := change.ParseTemplateBy(source.String(), change.RuleLiterals)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := template.Render(fields), oracle(source.String(), fields, false); got != want {
			t.Errorf("%q with %v = %q, want %q", source.String(), fields, got, want)
		}
		was := oracle(source.String(), fields, true)
		if got := older.Render(fields); got != was {
			t.Errorf("%q with %v by the older rule = %q, want %q", source.String(), fields, got, was)
		}
		if template.Rule() == change.RuleLiterals && template.Render(fields) != was {
			t.Errorf("%q with %v has another text than in older versions, and no rule of its own", source.String(), fields)
		}
		if all := !slices.ContainsFunc(fields, func(f change.Field) bool { return strings.TrimSpace(f.Text) == "" }); all && template.Render(fields) != was {
			t.Errorf("%q with every value = %q, and was %q", source.String(), template.Render(fields), was)
		}
		for _, text := range []string{template.Render(fields), older.Render(fields)} {
			if strings.TrimFunc(text, unicode.IsSpace) != text {
				t.Errorf("white space around %q", text)
			}
		}
	})
}
