package connect

import (
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sink"
)

// CheckState compares what is configured and what is there with what the pipeline was set up for.
func CheckState(c config.Config, state sink.State, table change.Table) error {
	switch {
	case state.Table.Schema != table.Schema || state.Table.Name != table.Name:
		return fault.New(fault.Usage, "put source.table back, or name another pipeline",
			"pipeline %q reads %s.%s, not %s.%s", c.Pipeline, state.Table.Schema, state.Table.Name, table.Schema, table.Name)
	case len(table.Key) > 0 && !change.SameKey(state.Table.Key, table.Key): // none is of a table that was replaced and not looked at
		return fault.New(fault.Usage, "put source.key, or the columns' types, back; or wal2vec teardown, wal2vec init, and wal2vec backfill",
			"pipeline %q has the key (%s), the table has (%s)", c.Pipeline, keyText(state.Table.Key), keyText(table.Key))
	case state.Slot != c.Source.Slot && state.Slot != "" || state.Publication != c.Source.Publication:
		return fault.New(fault.Usage, "put source.slot and source.publication back",
			"pipeline %q streams from slot %q and publication %q, not %q and %q",
			c.Pipeline, state.Slot, state.Publication, c.Source.Slot, c.Source.Publication)
	default:
		return nil
	}
}

func keyText(key []change.Column) string {
	parts := make([]string, len(key))
	for i, column := range key {
		parts[i] = column.Name + " " + string(column.Type)
	}
	return strings.Join(parts, ", ")
}

// CheckFollowed refuses to read a table whose changes no slot brings.
func CheckFollowed(c config.Config, state sink.State, table change.Table) error {
	switch {
	case state.Slot == "":
		return sink.ErrNoSlot
	case state.Table.OID != table.OID && FollowsSwaps(c):
		return fault.New(fault.Gap, "wal2vec stream, or wal2vec stream --until-current, which follows it",
			"table %s.%s was replaced by another of the same name (OID %d, was %d), which no stream has followed yet",
			table.Schema, table.Name, table.OID, state.Table.OID)
	case state.Table.OID != table.OID:
		return fault.New(fault.Gap, "wal2vec init --resync, then wal2vec backfill",
			"table %s.%s was replaced by another of the same name (OID %d, was %d): its changes are not published",
			table.Schema, table.Name, table.OID, state.Table.OID)
	default:
		return nil
	}
}

// ShownTable is the table whose columns a search shows: the configured one. What a row of the sink
// names otherwise is not read with the rights that this role has on the source.
func ShownTable(c config.Config, state sink.State) (change.Table, error) {
	var key []string
	for _, column := range state.Table.Key {
		key = append(key, column.Name)
	}
	if table := c.Source.Table; state.Table.Schema != table.Schema || state.Table.Name != table.Name || !slices.Equal(key, c.Source.Key) {
		return change.Table{}, fault.New(fault.Usage, "put source.table and source.key back, or name another pipeline",
			"pipeline %q reads %s.%s by (%s), the configuration names %s by (%s)", c.Pipeline, state.Table.Schema, state.Table.Name,
			strings.Join(key, ", "), table, strings.Join(c.Source.Key, ", "))
	}
	table := state.Table
	table.Template, table.SoftDelete = c.Source.Template.Limited(c.Stream.MaxRowBytes), c.Source.SoftDelete
	return table, nil
}
