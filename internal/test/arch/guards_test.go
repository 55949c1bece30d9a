package arch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// asActing are the queries that compare something with the role that a session acts as at the
// moment, and why that is no guard.
var asActing = map[string]string{
	"sink_default_grantees.sql": "whose default privileges the tables that are made get",
	"sink_view_describe.sql":    "whether the view that is made has to be handed to the owner of the one before",
	"sink_table_owner.sql":      "whether a transaction has to act as the owner of the tables",
	"doctor_source.sql":         "what of the server's statistics the session sees",
	"source_swap_role.sql":      "as whom the function would be made",
}

// TestNoGuardTakesTheActingRoleForThisOne: a connection string may name a role to act as, whose
// functions can take that back. So what belongs to it is trusted no more than what belongs to
// others: guards compare with SESSION_USER.
func TestNoGuardTakesTheActingRoleForThisOne(t *testing.T) {
	t.Parallel()
	compares := regexp.MustCompile(`(?i)(?:(?:=|<>|\bIN\s*\(|\bFROM)\s*(?:current_user|current_role|user)\b)|(?:\b(?:current_user|current_role)(?:::\w+)?\s*(?:=|<>|\bIN\b))`)
	files, err := filepath.Glob("../../../sql/queries/*.sql")
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		found, allowed := compares.Match(text), asActing[name] != ""
		if found != allowed {
			t.Errorf("%s compares with CURRENT_USER: %t, and asActing has a reason: %t", name, found, allowed)
		}
	}
}
