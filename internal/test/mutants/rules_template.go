package main

const literalFile = "internal/change/literal.go"

var template = rule{
	name: "Template",
	says: "a label goes with its own value; a generation keeps the rule that its texts were made by",
	mutants: []mutant{
		{
			name:  "the first value has the label of the first column",
			fails: []string{"internal/change TestALabelGoesWithItsOwnValue", "internal/change TestRenderingAgreesWithAnOracle"},
			edits: []edit{{literalFile, "field.after, label, later = parts.unit, parts.label, parts", "field.after, later = parts.unit, parts"}},
		},
		{
			name:  "a unit stays without its value",
			fails: []string{"internal/change TestALabelGoesWithItsOwnValue", "internal/change TestRenderingAgreesWithAnOracle"},
			edits: []edit{{literalFile, "		return literal[:at], literal[at:]", "		return literal[:0], literal"}},
		},
		{
			name:  "a label in the middle does not make another rule",
			fails: []string{"internal/change TestOnlyATemplateWithALabelHasTheNewRule", "internal/change TestRenderingAgreesWithAnOracle"},
			edits: []edit{{literalFile, `parts.unit != "" || parts.label != ""`, `parts.unit != ""`}},
		},
		{
			name:  "every template has the new rule",
			fails: []string{"internal/change TestOnlyATemplateWithALabelHasTheNewRule"},
			edits: []edit{{"internal/change/template.go", "	if !labels(columns, literals) {", "	if !labels(columns, literals) && source == \"\" {"}},
		},
		{
			name:  "generations of both rules share a column",
			fails: []string{"sink TestAGenerationKeepsTheRuleOfItsTemplate"},
			edits: []edit{{"sink/generation.go", "other.Template == g.Template && other.Rule == g.Rule", "other.Template == g.Template"}},
		},
		{
			name:  "a writer renders every generation by the new rule",
			fails: []string{"sink TestAGenerationKeepsTheRuleOfItsTemplate"},
			edits: []edit{{"sink/layout.go", "change.ParseTemplateBy(g.Template, g.Rule)", "change.ParseTemplate(g.Template)"}},
		},
		{
			name:  "an upgrade does not find the generation of the older rule",
			fails: []string{"sink TestAGenerationKeepsTheRuleOfItsTemplate"},
			edits: []edit{{"sink/generation.go", `len(alike) == 0 && g.OlderFingerprint != ""`, `len(alike) == 0 && g.OlderFingerprint == "x"`}},
		},
	},
}
