package sink

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Pipeline is what a pipeline is made of, in the words of its source.
type Pipeline struct {
	// SystemID and Timeline are those of IDENTIFY_SYSTEM.
	SystemID    string
	Timeline    int32
	Slot        string
	Publication string
	// Table needs its schema, name, OID and key; State returns no more than these.
	Table change.Table
}

// Register writes the pipeline's row, without a watermark: an intent that Start fulfils. It creates
// the ledger. Run again, it changes what may still change, and refuses another table or key, and
// another slot or publication once the pipeline has started.
func (s *Sink) Register(ctx context.Context, p Pipeline) error {
	return s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		if err := s.checkSchema(ctx, tx); err != nil {
			return nil, err
		}
		st, found, err := s.lookUp(ctx, tx)
		if err != nil {
			return nil, err
		}
		steps, err := s.registerSteps(st, found, p)
		if err != nil || found {
			return steps, err
		}
		return append(steps, unasked(s.madeHere(s.registered()...))), nil
	})
}

func (s *Sink) registerSteps(st State, found bool, p Pipeline) ([]string, error) {
	if !pipelineName.MatchString(s.pipeline) {
		return nil, fault.New(fault.Usage, "use lower-case letters, digits and underscores, at most 40, not a digit first",
			"%q cannot name a pipeline", s.pipeline)
	}
	if err := checkKey(p.Table.Key); err != nil {
		return nil, err
	}
	names, types := keyParts(p.Table.Key)
	data := map[string]any{
		"Schema": pgname.Catalogue(s.schema), "Name": pgname.Literal(s.pipeline),
		"SystemID": pgname.Literal(p.SystemID), "Timeline": p.Timeline, "Slot": pgname.Literal(p.Slot),
		"Publication": pgname.Literal(p.Publication), "SourceSchema": pgname.Literal(p.Table.Schema), "SourceTable": pgname.Literal(p.Table.Name),
		"SourceOID": p.Table.OID, "KeyColumns": pgname.Literals(names), "KeyTypes": pgname.Literals(types),
	}
	if !found {
		t := s.tablesOf(p.Table.Key)
		return []string{
			render("register", data), render("ledger_create", t), render("ledger_tombstones_create", t),
			render("letters_create", t), render("letters_identity", t), render("letters_lookup_create", t),
		}, nil
	}
	if err := s.checkRegistered(st, p); err != nil {
		return nil, err
	}
	same := st.SystemID == p.SystemID && st.Timeline == p.Timeline && st.Slot == p.Slot && st.Publication == p.Publication &&
		st.Table.OID == p.Table.OID
	if st.Started() && st.Slot == "" && st.SlotName != p.Slot {
		return []string{render("register_slot", data)}, nil
	}
	if st.Started() || same {
		return nil, nil
	}
	return []string{render("register_again", data)}, nil
}

// registered are the tables that registerSteps makes.
func (s *Sink) registered() []string {
	return []string{"ledger_" + s.pipeline, "dead_letter_" + s.pipeline}
}

// checkRegistered refuses what the ledger or the slot cannot follow.
func (s *Sink) checkRegistered(st State, p Pipeline) error {
	const try = "give the new pipeline another name (pipeline:), or remove the old one: wal2vec teardown"
	if st.Table.Schema != p.Table.Schema || st.Table.Name != p.Table.Name {
		return fault.New(fault.Usage, try, "pipeline %q reads table %s.%s, not %s.%s",
			s.pipeline, st.Table.Schema, st.Table.Name, p.Table.Schema, p.Table.Name)
	}
	if !change.SameKey(st.Table.Key, p.Table.Key) {
		return fault.New(fault.Usage, try, "pipeline %q has the key %s, the table has %s", s.pipeline, keyText(st.Table.Key), keyText(p.Table.Key))
	}
	if st.Started() && (st.Slot != p.Slot && st.Slot != "" || st.Publication != p.Publication) {
		return fault.New(fault.Usage, try, "pipeline %q streams from slot %q and publication %q, not %q and %q",
			s.pipeline, st.Slot, st.Publication, p.Slot, p.Publication)
	}
	return nil
}

func keyParts(key []change.Column) (names, types []string) {
	for _, column := range key {
		names = append(names, column.Name)
		types = append(types, string(column.Type))
	}
	return names, types
}

func keyText(key []change.Column) string {
	parts := make([]string, len(key))
	for i, column := range key {
		parts[i] = column.Name + " " + string(column.Type)
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
