package hub

import (
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Reference names a model on a hub: ORGANISATION/NAME, or NAME alone, and a branch, tag or commit.
type Reference struct{ Name, Revision string }

// String is the reference as a person writes it.
func (r Reference) String() string {
	if r.Revision == defaultRevision {
		return r.Name
	}
	return r.Name + "@" + r.Revision
}

const defaultRevision = "main"

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$`)
)

// ParseReference reads NAME[@REVISION]; without a revision it is main. What is neither is quoted no
// further than it looks like one: an address may have a password in it.
func ParseReference(text string) (Reference, error) {
	name, revision, named := strings.Cut(text, "@")
	if !named {
		revision = defaultRevision
	}
	if !namePattern.MatchString(name) {
		return Reference{}, fault.New(fault.Usage, "sentence-transformers/all-MiniLM-L6-v2", "%s is not the name of a model on a hub", spelt(name))
	}
	if !revisionPattern.MatchString(revision) || strings.Contains(revision, "..") {
		return Reference{}, fault.New(fault.Usage, pgname.Shell(name)+"@main", "%s is not a branch, tag or commit", spelt(revision))
	}
	return Reference{Name: name, Revision: revision}, nil
}

// spelt quotes a text as far as it may be a name.
func spelt(text string) string {
	const longest = 100
	end := strings.IndexFunc(text, func(r rune) bool {
		return !strings.ContainsRune("._-/", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		end = len(text)
	}
	if end = min(end, longest); end < len(text) {
		return strconv.Quote(text[:end] + "…")
	}
	return strconv.Quote(text)
}

// Folder is the name of the folder that the model gets: its own name without the organisation.
func (r Reference) Folder() string { return path.Base(r.Name) }

// inside reports whether a name from the hub stays within the folder that it is written to.
func inside(name string) bool {
	return filepath.IsLocal(name) && path.Clean(name) == name && !strings.ContainsAny(name, "\\:\x00")
}
