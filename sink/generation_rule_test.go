package sink_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// TestAGenerationKeepsTheRuleOfItsTemplate: one that an older version made is found by the
// fingerprint that it has, and is written by its rule beside one of the same template by the
// present rule, each with a column of its own for its texts.
func TestAGenerationKeepsTheRuleOfItsTemplate(t *testing.T) {
	t.Parallel()
	const source = "T: {name} ({brand})"
	older := generation(dimension)
	older.Template, older.Fingerprint = source, "older"
	b := setupWith(t, productPipeline(), older)
	// As a version before the column left it.
	b.db.Exec(t, `DELETE FROM wal2vec.schema_version WHERE version >= (SELECT version FROM wal2vec.schema_version WHERE name LIKE '%template_rule');
		ALTER TABLE wal2vec.stream_state DROP COLUMN gap;
		ALTER TABLE wal2vec.generation DROP COLUMN template_rule`)
	newer := older
	newer.Fingerprint, newer.OlderFingerprint, newer.Rule = "newer", "older", change.RuleLabels
	plan, err := b.sink.Plan(t.Context(), productPipeline(), newer) // init looks before it migrates
	b.ok(err)
	b.ok(b.sink.Rehearse(t.Context(), plan))
	b.ok(b.sink.Migrate(t.Context()))
	made, err := b.sink.EnsureGeneration(t.Context(), newer)
	b.ok(err)
	if all := b.state().Generations; len(all) != 1 || made.ID != 1 || made.Rule != change.RuleLiterals {
		t.Fatalf("an upgrade finds generation %+v of %+v", made, all)
	}
	strange := newer
	strange.Fingerprint, strange.OlderFingerprint = "strange", ""
	if _, err := b.state().MadeBy(strange); err == nil {
		t.Error("another model is taken")
	}

	built, resumed, err := b.sink.BuildGeneration(t.Context(), newer)
	b.ok(err)
	if resumed || built.ID != 2 || built.Rule != change.RuleLabels || built.HashColumn == made.HashColumn {
		t.Errorf("built %+v, %v", built, resumed)
	}
	if found, err := b.state().MadeBy(newer); err != nil || found.ID != 2 {
		t.Errorf("now the generation is %+v, %v", found, err)
	}
	half := newer
	half.Storage = sink.HalfVec
	third, _, err := b.sink.BuildGeneration(t.Context(), half)
	b.ok(err)
	if third.HashColumn != built.HashColumn {
		t.Errorf("two generations with the same texts have the columns %s and %s", built.HashColumn, third.HashColumn)
	}

	stream := b.takeover()
	templates := stream.Template().All()
	if len(templates) != 2 || templates[0].Rule() != change.RuleLiterals || templates[1].Rule() != change.RuleLabels {
		t.Fatalf("the stream writes %+v", templates)
	}
	fields := []change.Field{{Text: "tent", State: change.FieldValue}, {}, {Text: "tent", State: change.FieldValue}, {}}
	c := change.Change{Key: change.KeyOf("1"), LSN: 0x1101}
	c.Document, c.Further = stream.Template().Documents(fields)
	first, second := encodedOf(c.Document), encodedOf(c.Further[0])
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{c}, Watermark: 0x1200, Encodings: change.Encodings{1: first, 2: second, 3: second},
	}))
	hash := func(text string) string { return change.HashText(text).String() }
	got := pgtest.One[string](t, b.db, "SELECT encode("+made.HashColumn+", 'hex') || ' ' || encode("+built.HashColumn+", 'hex') FROM wal2vec.ledger_product")
	if want := hash("T: tent)") + " " + hash("T: tent"); got != want {
		t.Errorf("the ledger has the texts %s, want %s", got, want)
	}
}

func encodedOf(d change.Document) change.Encoded {
	return change.Encoded{Vectors: map[change.Hash][]float32{d.Hash: vectorOf(dimension, d.Hash)}}
}
