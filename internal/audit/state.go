package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// stateFile keeps how far a full audit is. The zero stateFile keeps nothing.
type stateFile struct {
	path     string
	identity string
	restart  bool
}

// stateFile names the file of this audit: another pipeline, generation or source has another one.
func (a *Opened) stateFile() stateFile {
	if !a.options.Full {
		return stateFile{}
	}
	g := a.Generation()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %q %d %q %q", a.state.SystemID, a.config.Sink.Schema, a.config.Pipeline, g.ID, g.Fingerprint,
		a.table.Template.String()))
	f := stateFile{path: a.options.State, identity: hex.EncodeToString(sum[:]), restart: a.options.Restart}
	if f.path == "" {
		folder, err := os.UserCacheDir()
		if err != nil {
			a.log.Warn().Err(err).Msg("an interruption would have the audit begin again: name a file with --state")
			return stateFile{}
		}
		f.path = filepath.Join(folder, "wal2vec", fmt.Sprintf("audit-%s-%.12s.json", a.config.Pipeline, f.identity))
	}
	return f
}

// mostStateBytes bounds the file; it names each difference that was found.
const mostStateBytes = 1 << 30

// load returns what an interrupted audit left; the zero Report when there is nothing to go on with.
func (f stateFile) load() (Report, error) {
	begin := Report{Identity: f.identity}
	if f.path == "" || f.restart {
		return begin, nil
	}
	text, err := safefile.ReadTrusted(f.path, mostStateBytes) // what another account writes there could say that all was looked at
	if refused := safefile.Fault(err, "name another file with --state", "reading how far the audit is"); fault.KindOf(refused) == fault.Usage {
		return begin, refused
	}
	if errors.Is(err, fs.ErrNotExist) {
		return begin, nil
	}
	if err != nil {
		return begin, fault.Wrap(err, fault.Usage, "name another file with --state", "reading how far the audit is")
	}
	var left Report
	if json.Unmarshal(text, &left) != nil || left.Identity != f.identity { //nolint:musttag // as in save
		return begin, fault.New(fault.Usage, "wal2vec audit --full --restart", "%s is not of this audit", f.path)
	}
	return left, nil
}

// save writes the report in the file's place, whole or not at all.
func (f stateFile) save(r Report) error {
	if f.path == "" {
		return nil
	}
	const mine, private = 0o600, 0o700
	text, err := json.Marshal(r) //nolint:musttag // both ends are this program
	if err == nil {
		err = os.MkdirAll(filepath.Dir(f.path), private)
	}
	if err == nil {
		err = safefile.Replace(f.path, mine, func(file *os.File) error {
			_, err := file.Write(text)
			return err
		})
	}
	if err != nil {
		return fault.Wrap(err, fault.Usage, "name another file with --state", "keeping how far the audit is")
	}
	return nil
}

func (f stateFile) remove() {
	if f.path != "" {
		_ = os.Remove(f.path) // the next audit would only go on from its end
	}
}
