package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/wal2vec/wal2vec/internal/safefile"
)

// folder reads the small files of a checkpoint, each once: what is judged, what is hashed and what
// the graph is made by are the same bytes, also where another account exchanges a file in between.
type folder struct {
	dir string
	// load is ReadFile, but for tests.
	load func(path string, most int64) ([]byte, error)
	// kept is what was in each file, by its name below dir; nil where there was none.
	kept map[string][]byte
	// asked are the names below dir that were looked for, found or not.
	asked map[string]bool
}

func newFolder(dir string) *folder {
	return &folder{dir: dir, load: ReadFile, kept: map[string][]byte{}, asked: map[string]bool{}}
}

// read returns what is in a file, as it was when it was read first: nil and false where it was not
// there.
func (f *folder) read(name string) (data []byte, found bool, err error) {
	if data, known := f.kept[name]; known {
		return data, data != nil, nil
	}
	most := int64(MaxConfigBytes)
	if name == tokenizerFile {
		most = MaxTokenizerBytes
	}
	f.asked[name] = true
	data, err = f.load(filepath.Join(f.dir, name), most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data = nil
	case err != nil:
		return nil, false, fmt.Errorf("reading %s of the model: %w", name, err)
	case data == nil:
		data = []byte{}
	}
	f.kept[name] = data
	return data, data != nil, nil
}

// forget lets go of what was read.
func (f *folder) forget() { f.kept = nil }

// check returns a *safefile.Error where another account could change a file that was looked for:
// put one where none was, too.
func (f *folder) check() error {
	for _, name := range sortedKeys(f.asked) {
		if err := safefile.Check(filepath.Join(f.dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// readJSON reads a file of the checkpoint; found is false where it is not there.
func readJSON(f *folder, name string, into any) (found bool, err error) {
	data, found, err := f.read(name)
	if err != nil || !found {
		return false, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return true, unsupported(f.dir, "%s is not valid: %v", name, err)
	}
	return true, nil
}
