package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wal2vec/wal2vec/internal/audit"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// auditFile keeps how far a full audit is. The zero auditFile keeps nothing.
type auditFile struct {
	path     string
	identity string
	restart  bool
}

// file names the file of this audit: another pipeline, generation or source has another one.
func (a *auditing) file() auditFile {
	if !a.options.full {
		return auditFile{}
	}
	g := a.audit.Generation()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %q %d %q %q", a.state.SystemID, a.config.Sink.Schema, a.config.Pipeline, g.ID, g.Fingerprint,
		a.table.Template.String()))
	f := auditFile{path: a.options.state, identity: hex.EncodeToString(sum[:]), restart: a.options.restart}
	if f.path == "" {
		folder, err := os.UserCacheDir()
		if err != nil {
			a.log.Warn().Err(err).Msg("an interruption would have the audit begin again: name a file with --state")
			return auditFile{}
		}
		f.path = filepath.Join(folder, "wal2vec", fmt.Sprintf("audit-%s-%.12s.json", a.config.Pipeline, f.identity))
	}
	return f
}

// mostStateBytes bounds the file; it names each difference that was found.
const mostStateBytes = 1 << 30

// load returns what an interrupted audit left; the zero Report when there is nothing to go on with.
func (f auditFile) load() (audit.Report, error) {
	begin := audit.Report{Identity: f.identity}
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
	var left audit.Report
	if json.Unmarshal(text, &left) != nil || left.Identity != f.identity { //nolint:musttag // as in save
		return begin, fault.New(fault.Usage, "wal2vec audit --full --restart", "%s is not of this audit", f.path)
	}
	return left, nil
}

// save writes the report in the file's place, whole or not at all.
func (f auditFile) save(r audit.Report) error {
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

func (f auditFile) remove() {
	if f.path != "" {
		_ = os.Remove(f.path) // the next audit would only go on from its end
	}
}
