package setup

import (
	"context"
	"fmt"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sink"
)

// AccessText says what an access lets a role do.
var AccessText = map[sink.Access]string{
	sink.Write: "all that stream and backfill need", sink.Read: "all that search and status need",
}

// rightsIn are the GRANTs and REVOKEs among statements that were run in the source, one line each:
// who got or lost what.
func rightsIn(statements []string) []string {
	var lines []string
	for _, step := range statements {
		switch {
		case strings.HasPrefix(step, "GRANT "):
			lines = append(lines, "given in the source: "+pgname.Visible(strings.TrimPrefix(step, "GRANT ")))
		case strings.HasPrefix(step, "REVOKE ") && !strings.HasSuffix(step, " FROM PUBLIC"): // PUBLIC loses the right to call what was just made
			lines = append(lines, "taken in the source: "+pgname.Visible(strings.TrimPrefix(step, "REVOKE ")))
		case strings.HasPrefix(step, "ALTER "): // function and publication get an owner
			lines = append(lines, "given in the source: "+pgname.Visible(strings.TrimPrefix(step, "ALTER ")))
		}
	}
	return lines
}

// noteGrant notes for the end of init what a role was given or has lost in the sink.
func (s *Init) noteGrant(grant sink.Grant) {
	role := pgname.Visible(grant.Role)
	if grant.Access == sink.Nothing {
		s.rights = append(s.rights, "taken in the sink: all that was given for pipeline "+s.Config.Pipeline+", from role "+role)
		return
	}
	s.rights = append(s.rights, "given in the sink: "+AccessText[grant.Access]+", to role "+role)
}

// noteUpgrade notes what a migration of the schema gives to roles of before, and takes from them.
func (s *Init) noteUpgrade(ctx context.Context) error {
	changes, err := s.Store.Regranted(ctx)
	if err != nil {
		return err
	}
	for _, c := range changes {
		role := pgname.Visible(c.Role)
		if c.Role == "" {
			role = "PUBLIC"
		}
		if c.Access == sink.Nothing {
			s.rights = append(s.rights, fmt.Sprintf("taken in the sink: all rights on pipeline %s, from role %s, which had them by those on the whole schema "+
				"(init --grant-stream and --grant-search give them)", pgname.Visible(c.Pipeline), role))
			continue
		}
		s.rights = append(s.rights, fmt.Sprintf("kept in the sink: %s on pipeline %s, by role %s", AccessText[c.Access], pgname.Visible(c.Pipeline), role))
	}
	return nil
}
