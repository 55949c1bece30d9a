package models

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// letIn opens the test's own folder, of mode 0700, so that the modes below it count.
func letIn(t *testing.T) {
	t.Helper()
	t.Setenv(safefile.TrustVariable, "")
	if err := os.Chmod(filepath.Dir(t.TempDir()), 0o755); err != nil {
		t.Fatal(err)
	}
}

// plant puts another graph in a graph's place, with a manifest that vouches for it, as any account
// that can write the folder may.
func plant(t *testing.T, g Graph) []byte {
	t.Helper()
	planted := []byte("a graph of another account's")
	writeFile(t, g.Path, planted)
	m := g.Manifest
	var err error
	if m.GraphSHA256, m.GraphBytes, err = hashFile(g.Path); err != nil {
		t.Fatal(err)
	}
	m.Dimension, m.MaxTokens, m.Vocabulary = 1<<30, 1<<30, 1<<30
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(filepath.Dir(g.Path), manifestFile), text)
	return planted
}

// moveBelowAnOpenFolder leaves a link in a folder's place.
func moveBelowAnOpenFolder(cache string) error {
	open := cache + "-open"
	inside := filepath.Join(open, "x")
	return errors.Join(os.Mkdir(open, 0o700), os.Rename(cache, inside), os.Chmod(open, 0o777), os.Symlink(inside, cache))
}

func TestAGraphThatAnotherAccountMayWriteIsNotTaken(t *testing.T) {
	letIn(t)
	type gift = func(cache string, g Graph) error
	gifts := map[string]gift{
		"the cache":                  func(cache string, _ Graph) error { return os.Chmod(cache, 0o777) },
		"its folder":                 func(_ string, g Graph) error { return os.Chmod(filepath.Dir(g.Path), 0o777) },
		"a link into an open folder": func(cache string, _ Graph) error { return moveBelowAnOpenFolder(cache) },
	}
	if os.Geteuid() == 0 { // root alone can give a folder away
		gifts["the cache's owner"] = func(cache string, _ Graph) error { return os.Chown(cache, 65534, 65534) }
		gifts["its folder's owner"] = func(_ string, g Graph) error { return os.Chown(filepath.Dir(filepath.Dir(g.Path)), 65534, 65534) }
	}
	for name, give := range gifts {
		t.Run(name, func(t *testing.T) {
			cache := filepath.Join(t.TempDir(), "graphs")
			c, first := built(t, newTiny(), cache)
			letIn(t)
			plant(t, first)
			if err := give(cache, first); err != nil {
				t.Fatal(err)
			}
			g, err := Build(t.Context(), c, cache, cpu)
			if err != nil {
				t.Fatal(err)
			}
			var problem *safefile.Error
			if !errors.As(g.NotKept, &problem) || g.Path != "" || !g.Built || g.Manifest.GraphSHA256 != first.Manifest.GraphSHA256 ||
				int64(len(g.Data)) != first.Manifest.GraphBytes || g.Manifest.Dimension != 8 {
				t.Errorf("%+v, %d bytes", g.Manifest, len(g.Data))
			}
			if _, err := Check(t.Context(), filepath.Dir(first.Path)); !errors.As(err, &problem) {
				t.Errorf("the list calls it %v", err)
			}
		})
	}
}

// A folder of ours with a file of another account's is repaired: the file is replaced.
func TestAFileOfAnotherAccountInOurFolderIsReplaced(t *testing.T) {
	cache := t.TempDir()
	c, first := built(t, newTiny(), cache)
	letIn(t)
	planted := plant(t, first)
	if err := os.Chmod(first.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	g, err := Build(t.Context(), c, cache, cpu)
	if err != nil || !g.Built || g.Path != first.Path || g.Manifest.GraphSHA256 != first.Manifest.GraphSHA256 {
		t.Fatalf("%+v, %v", g, err)
	}
	if data, err := os.ReadFile(g.Path); err != nil || string(data) == string(planted) {
		t.Errorf("the file is still the planted one, %v", err)
	}
}

// Of the manifest the hash alone counts; sizes that the runtime's memory depends on are the
// checkpoint's.
func TestTheManifestsSizesAreNotBelieved(t *testing.T) {
	cache := t.TempDir()
	c, first := built(t, newTiny(), cache)
	m := first.Manifest
	m.Dimension, m.MaxTokens, m.Vocabulary, m.Model = 1<<30, 1<<30, 1<<30, "other"
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(filepath.Dir(first.Path), manifestFile), text)
	g, err := Build(t.Context(), c, cache, cpu)
	if err != nil || g.Built || g.Manifest.Dimension != 8 || g.Manifest.MaxTokens != first.Manifest.MaxTokens || g.Manifest.Vocabulary != first.Manifest.Vocabulary {
		t.Errorf("%+v, %v", g, err)
	}
}

// The checkpoint is a witness that another graph cannot have: the graph is made from it once more.
func TestVerifyFindsAGraphThatCameWithItsManifest(t *testing.T) {
	cache := t.TempDir()
	c, first := built(t, newTiny(), cache)
	if err := Verify(t.Context(), c, first); err != nil {
		t.Fatal(err)
	}
	plant(t, first)
	g, err := Build(t.Context(), c, cache, cpu)
	if err != nil || g.Built {
		t.Fatalf("an account's own cache is believed: %+v, %v", g, err)
	}
	if err := Verify(t.Context(), c, g); fault.KindOf(err) != fault.Findings || !strings.Contains(err.Error(), g.Path) {
		t.Error(err)
	}
}

func TestWithoutAFolderTheGraphIsInMemory(t *testing.T) {
	c, first := built(t, newTiny(), t.TempDir())
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	for _, cache := range []string{"", filepath.Join(file, "graphs")} {
		g, err := Build(t.Context(), c, cache, cpu)
		if err != nil || g.Path != "" || g.NotKept == nil || g.Manifest.GraphSHA256 != first.Manifest.GraphSHA256 {
			t.Fatalf("%q: %+v, %v", cache, g, err)
		}
		if want, err := os.ReadFile(first.Path); err != nil || string(want) != string(g.Data) {
			t.Errorf("%q: other bytes, %v", cache, err)
		}
		if err := Verify(t.Context(), c, g); err != nil {
			t.Error(err)
		}
	}
}
