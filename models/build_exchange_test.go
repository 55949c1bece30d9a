package models

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// exchange puts other bytes into a file, of the same size and with the same times, as the owner of
// the file may.
func exchange(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-2] ^= 1
	writeFile(t, path, data)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// copied is a checkpoint of the fixtures in a folder of its own.
func copied(t *testing.T, fixture string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fixture)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "checkpoints", fixture))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// filesBelow counts the files in a folder and those below it.
func filesBelow(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refusedAsChanged: one line that names the file.
func refusedAsChanged(t *testing.T, name string, err error) {
	t.Helper()
	if fault.KindOf(err) != fault.Model || !strings.Contains(err.Error(), name+" of model ") || !strings.Contains(err.Error(), "changed while it was read") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("%s was exchanged: kind %v, %v", name, fault.KindOf(err), err)
	}
}

func TestAGraphIsMadeOfTheBytesThatWereHashed(t *testing.T) {
	for fixture, name := range map[string]string{"bert-mean": weightsFile, "bert-tanh-sharded": "model-00002-of-00003.safetensors", "onnx-tokens": "onnx/model.onnx"} {
		t.Run(fixture, func(t *testing.T) {
			c, err := Open(copied(t, fixture))
			if err != nil {
				t.Fatal(err)
			}
			cache := t.TempDir()
			first, err := Build(t.Context(), c, t.TempDir(), cpu)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, filepath.Join(c.dir, filepath.FromSlash(name)))
			for _, folder := range []string{cache, ""} {
				_, err := Build(t.Context(), c, folder, cpu)
				refusedAsChanged(t, name, err)
			}
			if n := filesBelow(t, cache); n != 0 {
				t.Errorf("%d files are kept", n)
			}
			refusedAsChanged(t, name, Verify(t.Context(), c, first))
		})
	}
}

// hooked calls a function whenever it is asked whether it is cancelled, as Build does before each
// constant.
type hooked struct {
	context.Context //nolint:containedctx // it is one
	hook            func()
}

func (h hooked) Err() error {
	h.hook()
	return nil
}

func TestWeightsThatChangeWhileTheGraphIsWritten(t *testing.T) {
	c, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	ctx := hooked{t.Context(), func() {
		if asked++; asked == 3 { // the file as a whole was read and compared before
			exchange(t, filepath.Join(c.dir, weightsFile))
		}
	}}
	_, err = Build(ctx, c, "", cpu)
	refusedAsChanged(t, weightsFile, err)
	if asked < 3 {
		t.Error("nothing was exchanged")
	}
}

func TestASealedFileGivesTheBytesThatWereHashed(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 3*blockBytes+777)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	whole := bytes.Clone(data)
	s, _, err := seal(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f := func(at, n int) {
		t.Helper()
		got := make([]byte, n)
		if read, err := s.ReadAt(got, int64(at)); err != nil || read != n || !bytes.Equal(got, whole[at:at+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", n, at, read, err)
		}
	}
	f(0, len(data))
	f(0, blockBytes)
	f(blockBytes, 2*blockBytes)
	f(len(data)-1, 1)
	for range 200 {
		at := random.IntN(len(data))
		f(at, random.IntN(len(data)-at+1))
	}
	for range 100 { // one bit that is among the bytes, or beside them in their block
		changed := random.IntN(len(data))
		data[changed] ^= 8
		at := max(0, changed-random.IntN(2*blockBytes))
		got := make([]byte, min(len(data)-at, changed-at+1))
		if _, err := s.ReadAt(got, int64(at)); !errors.Is(err, errChanged) {
			t.Fatalf("%d bytes at %d, changed at %d: %v", len(got), at, changed, err)
		}
		data[changed] ^= 8
	}
	s.file = bytes.NewReader(data[:2*blockBytes+5])
	if _, err := s.ReadAt(make([]byte, 10), 2*blockBytes); !errors.Is(err, errChanged) {
		t.Errorf("a file that ends earlier: %v", err)
	}
	if n, err := s.ReadAt(make([]byte, 10), int64(len(whole))-4); n != 0 && err == nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestTheTokenizerIsTheOneThatWasHashed(t *testing.T) {
	c, err := Open(newTiny().write(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.dir, tokenizerFile)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Tokenizer(); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%q, %v", got, err)
	}
	exchange(t, path)
	_, err = c.Tokenizer()
	refusedAsChanged(t, tokenizerFile, err)
}

// TestASmallFileIsReadOnce: the second reader of a file sees what the first saw.
func TestASmallFileIsReadOnce(t *testing.T) {
	for _, fixture := range []string{"bert-mean", "distilbert-mean", "bert-tanh-sharded", "onnx-tokens"} {
		reads := map[string]int{}
		files := newFolder(copied(t, fixture))
		files.load = func(path string, most int64) ([]byte, error) {
			reads[path]++
			return ReadFile(path, most)
		}
		if _, err := openFolder(files); err != nil {
			t.Fatal(err)
		}
		if len(reads) < 5 {
			t.Errorf("%s: %v", fixture, reads)
		}
		for path, n := range reads {
			if n != 1 {
				t.Errorf("%s: %s is read %d times", fixture, path, n)
			}
		}
	}
}

// TestAGraphOfACheckpointThatAnotherAccountMayChangeIsNotKept: every command would take it for the
// fingerprint.
func TestAGraphOfACheckpointThatAnotherAccountMayChangeIsNotKept(t *testing.T) {
	type gift = func(dir string) error
	open := func(name string, mode os.FileMode) gift {
		return func(dir string) error { return os.Chmod(filepath.Join(dir, name), mode) }
	}
	gifts := map[string]gift{
		"the folder": open(".", 0o777), "weights": open(weightsFile, 0o666), "tokenizer": open(tokenizerFile, 0o666), "config": open(configFile, 0o666),
		"a folder in it": open("1_Pooling", 0o777),
		"weights behind a link": func(dir string) error {
			elsewhere := filepath.Join(filepath.Dir(dir), "elsewhere")
			path := filepath.Join(dir, weightsFile)
			return errors.Join(os.Mkdir(elsewhere, 0o700), os.Chmod(elsewhere, 0o777), os.Rename(path, filepath.Join(elsewhere, "w")),
				os.Symlink(filepath.Join(elsewhere, "w"), path))
		},
	}
	if os.Geteuid() == 0 { // root alone can give a file away
		gifts["the folder's owner"] = func(dir string) error { return os.Chown(dir, 65534, 65534) }
		gifts["the weights' owner"] = func(dir string) error { return os.Chown(filepath.Join(dir, weightsFile), 65534, 65534) }
	}
	for name, give := range gifts {
		t.Run(name, func(t *testing.T) {
			letIn(t)
			cache := t.TempDir()
			dir := newTiny().write(t)
			letIn(t)
			if err := give(dir); err != nil {
				t.Fatal(err)
			}
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			var problem *safefile.Error
			g, err := Build(t.Context(), c, cache, cpu)
			if err != nil || g.Path != "" || len(g.Data) == 0 || !errors.As(g.NotKept, &problem) {
				t.Fatalf("%+v, %v", g.Manifest, err)
			}
			if n := filesBelow(t, cache); n != 0 {
				t.Errorf("%d files are kept", n)
			}
			// What is there already is of the same bytes, and of a checkpoint that no other account
			// could change.
			_, kept := built(t, newTiny(), cache)
			if g, err = Build(t.Context(), c, cache, cpu); err != nil || g.Built || g.Path != kept.Path {
				t.Errorf("%+v, %v", g, err)
			}
		})
	}
}

func TestAGraphOfAnEarlierVersionIsMadeAgain(t *testing.T) {
	cache := t.TempDir()
	c, first := built(t, newTiny(), cache)
	path := filepath.Join(filepath.Dir(first.Path), manifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "sources_checked")
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, text)
	for _, want := range []bool{true, false} {
		if g, err := Build(t.Context(), c, cache, cpu); err != nil || g.Built != want {
			t.Errorf("built %v, want %v: %v", g.Built, want, err)
		}
	}
}
