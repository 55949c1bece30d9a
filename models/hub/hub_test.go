package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testCommit = "0123456789abcdef0123456789abcdef01234567"
	testToken  = "hf_planted"
	testName   = "acme/tiny"
)

// fakeHub serves one model as a hub does: small files itself, weights by a redirect to another
// address.
type fakeHub struct {
	hub, store *httptest.Server
	files      map[string]string
	// token, where set, is asked for.
	token string
	// intercept answers a path by itself where it returns true.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	// listed changes the listing.
	listed func(l map[string]any)

	mu       sync.Mutex
	requests []string
	leaked   []string
}

// newFakeHub serves the files of a checkpoint among models' test data, and more that no one needs.
func newFakeHub(t *testing.T, kind string) *fakeHub {
	t.Helper()
	f := &fakeHub{files: map[string]string{"README.md": "# Tiny", "pytorch_model.bin": "pickle"}}
	root := filepath.Join("..", "testdata", "checkpoints", kind)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, relErr := filepath.Rel(root, path)
		f.files[filepath.ToSlash(name)] = string(data)
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	f.store = httptest.NewServer(http.HandlerFunc(f.serveStore))
	t.Cleanup(f.store.Close)
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	t.Cleanup(f.hub.Close)
	return f
}

func large(name string) bool {
	return strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".onnx")
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// blobHashOf is what git hash-object says of a file.
func blobHashOf(text string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text))
	return hex.EncodeToString(sum[:])
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.URL.EscapedPath())
	f.mu.Unlock()
	switch {
	case f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token:
		w.WriteHeader(http.StatusUnauthorized)
	case f.intercept != nil && f.intercept(w, r):
	case strings.HasPrefix(r.URL.Path, "/api/models/"+testName+"/revision/"):
		f.list(w)
	case strings.HasPrefix(r.URL.Path, "/"+testName+"/resolve/"+testCommit+"/"):
		name := strings.TrimPrefix(r.URL.Path, "/"+testName+"/resolve/"+testCommit+"/")
		content, found := f.files[name]
		switch {
		case !found:
			w.WriteHeader(http.StatusNotFound)
		case large(name):
			w.Header().Set(etagHash, `"`+hashOf(content)+`"`)
			http.Redirect(w, r, f.store.URL+"/"+name+"?signature=secret", http.StatusFound)
		default:
			_, _ = io.WriteString(w, content)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fakeHub) serveStore(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		f.mu.Lock()
		f.leaked = append(f.leaked, r.URL.Path)
		f.mu.Unlock()
	}
	if f.intercept != nil && f.intercept(w, r) {
		return
	}
	_, _ = io.WriteString(w, f.files[strings.TrimPrefix(r.URL.Path, "/")])
}

func (f *fakeHub) list(w http.ResponseWriter) {
	var siblings []any
	for name, content := range f.files {
		entry := map[string]any{"rfilename": name, "size": len(content), "blobId": blobHashOf(content)}
		if large(name) {
			entry["blobId"] = blobHashOf("the pointer")
			entry["lfs"] = map[string]any{"sha256": hashOf(content), "size": len(content), "pointerSize": 130}
		}
		siblings = append(siblings, entry)
	}
	l := map[string]any{"id": testName, "sha": testCommit, "siblings": siblings}
	if f.listed != nil {
		f.listed(l)
	}
	_ = json.NewEncoder(w).Encode(l) //nolint:errchkjson // a map of strings and lists
}

func (f *fakeHub) options(folder string) Options {
	return Options{Address: f.hub.URL, Model: Reference{Name: testName, Revision: "main"}, Folder: folder}
}

// nothingLeft fails where a folder of models holds anything.
func nothingLeft(t *testing.T, folder string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(but, entry.Name()) {
			t.Errorf("%s is left behind", entry.Name())
		}
	}
}

func TestPullFetchesWhatAModelNeeds(t *testing.T) {
	for kind, weights := range map[string]string{
		"bert-prompts": "model.safetensors", "onnx-pooled": "onnx/model.onnx", "onnx-mpnet": "onnx/model.onnx",
	} {
		f := newFakeHub(t, kind)
		f.token = testToken
		folder := filepath.Join(t.TempDir(), "not", "there", "yet")
		o := f.options(folder)
		o.Token = testToken
		seen := map[string]int64{}
		o.Progress = func(file string, done, total int64) {
			if done < seen[file] || total >= 0 && done > total {
				t.Errorf("%s: %d of %d after %d", file, done, total, seen[file])
			}
			seen[file] = done
		}
		got, err := Pull(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if got.Folder != filepath.Join(folder, "tiny") || got.Commit != testCommit || got.Checkpoint.Name() != "tiny" || got.Files != len(seen) {
			t.Errorf("%s: %+v, progress of %d files", kind, got, len(seen))
		}
		var total int64
		for name, n := range seen {
			content, err := os.ReadFile(filepath.Join(got.Folder, name))
			if err != nil || string(content) != f.files[name] || n != int64(len(content)) {
				t.Errorf("%s: %s has %d bytes, %v; progress said %d", kind, name, len(content), err, n)
			}
			total += n
		}
		if got.Bytes != total || seen[weights] == 0 || seen["tokenizer.json"] == 0 || seen["README.md"] != 0 || seen["pytorch_model.bin"] != 0 {
			t.Errorf("%s: %d of %d bytes, files %v", kind, got.Bytes, total, seen)
		}
		if info, err := os.Stat(got.Folder); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", kind, info.Mode(), err)
		}
		if len(f.leaked) > 0 {
			t.Errorf("%s: the token went along to %v", kind, f.leaked)
		}
		nothingLeft(t, folder, "tiny")
	}
}

func TestPullFetchesShards(t *testing.T) {
	f := newFakeHub(t, "bert-tanh-sharded")
	got, err := Pull(t.Context(), f.options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{indexFile, "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"} {
		if _, err := os.Stat(filepath.Join(got.Folder, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestPullPrefersWeightsOverAnExport(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.files["onnx/model.onnx"] = "not asked for"
	got, err := Pull(t.Context(), f.options(t.TempDir()))
	if err != nil || got.Checkpoint.Export() {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(got.Folder, "onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the export was fetched too: %v", err)
	}
}

// A hub that lists neither commits nor sizes nor hashes is asked by the revision's name, and its
// files are taken as they come.
func TestPullFromAPlainHub(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.listed = func(l map[string]any) {
		delete(l, "sha")
		for _, s := range l["siblings"].([]any) {
			delete(s.(map[string]any), "size")
			delete(s.(map[string]any), "blobId")
			delete(s.(map[string]any), "lfs")
		}
	}
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		name, found := strings.CutPrefix(r.URL.EscapedPath(), "/"+testName+"/resolve/refs%2Fpr%2F1/")
		if found {
			_, _ = io.WriteString(w, f.files[name])
		}
		return found
	}
	o := f.options(t.TempDir())
	o.Model.Revision = "refs/pr/1"
	got, err := Pull(t.Context(), o)
	if err != nil || got.Commit != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if f.requests[0] != "/api/models/acme/tiny/revision/refs%2Fpr%2F1" {
		t.Errorf("asked for %v", f.requests)
	}
}

func TestPullReplacesOnlyWhenTold(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	folder := t.TempDir()
	old := filepath.Join(folder, "tiny", "old.txt")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Pull(t.Context(), f.options(folder))
	if err == nil || fault.KindOf(err) != fault.Usage || fault.Try(err) != "wal2vec models pull --replace acme/tiny" || len(f.requests) > 0 {
		t.Errorf("%v, %d requests", err, len(f.requests))
	}
	o := f.options(folder)
	o.Replace = true
	f.files["tokenizer.json"] = "{}"
	if _, err := Pull(t.Context(), o); err == nil {
		t.Error("a tokenizer without a model was taken")
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a failed pull took the old model: %v", err)
	}
	f.files["tokenizer.json"] = newFakeHub(t, "bert-mean").files["tokenizer.json"]
	if _, err := Pull(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old model is still there: %v", err)
	}
	nothingLeft(t, folder, "tiny")
}

// TestPullPutsNothingWhereAnotherAccountCouldMoveIt into a folder of that account's choice.
func TestPullPutsNothingWhereAnotherAccountCouldMoveIt(t *testing.T) {
	t.Setenv(safefile.TrustVariable, "")
	folder := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chmod(folder, 0o777)); err != nil { // else no other account enters it
		t.Fatal(err)
	}
	_, err := Pull(t.Context(), newFakeHub(t, "bert-mean").options(folder))
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "WAL2VEC_HOME") {
		t.Errorf("%v, try %q", err, fault.Try(err))
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// answers is a table of hubs that go wrong, with the line and the kind that come of it. HOST stands
// for the hub's address.
var answers = []struct {
	name, kind, want string
	fault            fault.Kind
	change           func(f *fakeHub)
}{
	{
		name: "no such model", want: `HOST does not have the list of its files of model acme/tiny`, fault: fault.Usage,
		change: func(f *fakeHub) { f.intercept = status(http.StatusNotFound, "/api/") },
	},
	{
		name: "private", want: "HOST has no public model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) { f.token = "other" },
	},
	{
		name: "gated", want: "HOST does not let this token read model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) { f.intercept = status(http.StatusForbidden, "/acme/") },
	},
	{
		name: "busy", want: "HOST answers with status 429 for the list of its files of model acme/tiny", fault: fault.Unavailable,
		change: func(f *fakeHub) { f.intercept = status(http.StatusTooManyRequests, "/api/") },
	},
	{
		name: "broken", want: "HOST answers with status 502 for model.safetensors of model acme/tiny", fault: fault.Unavailable,
		change: func(f *fakeHub) { f.intercept = status(http.StatusBadGateway, "/model.safetensors") },
	},
	{
		name: "teapot", want: "HOST answers with status 418 for the list of its files of model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) { f.intercept = status(http.StatusTeapot, "/api/") },
	},
	{
		name: "a file that is listed and not there", want: "HOST does not have config.json of model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) { f.intercept = status(http.StatusNotFound, "/resolve/") },
	},
	{
		name: "no hub", want: "HOST does not answer like a hub: the list of files of model acme/tiny is not readable", fault: fault.Usage,
		change: func(f *fakeHub) {
			f.intercept = func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "<html>"); return true }
		},
	},
	{
		name: "truncated", want: "model.safetensors of model acme/tiny came damaged: only 1000 bytes instead of 86392", fault: fault.Unavailable,
		change: func(f *fakeHub) { f.intercept = content("/model.safetensors", strings.Repeat("x", 1000)) },
	},
	{
		name: "too long", want: "config.json of model acme/tiny came damaged: it has more than 662 bytes", fault: fault.Unavailable,
		change: func(f *fakeHub) { f.intercept = content("/config.json", strings.Repeat("x", 700_000)) },
	},
	{
		name: "wrong hash in the listing", fault: fault.Unavailable,
		want: "model.safetensors of model acme/tiny came damaged: its SHA-256 is " + hashOf(strings.Repeat("x", 86392)) + ", the hub says ",
		change: func(f *fakeHub) {
			f.intercept = func(w http.ResponseWriter, r *http.Request) bool { // the hub itself, so that no header has the hash
				found := strings.HasSuffix(r.URL.Path, "/model.safetensors")
				if found {
					_, _ = io.WriteString(w, strings.Repeat("x", 86392))
				}
				return found
			}
		},
	},
	{
		name: "wrong content from where it redirects to", fault: fault.Unavailable,
		want:   "model.safetensors of model acme/tiny came damaged: its SHA-256 is " + hashOf(strings.Repeat("x", 86392)) + ", the hub says ",
		change: func(f *fakeHub) { f.intercept = content("/model.safetensors", strings.Repeat("x", 86392)) },
	},
	{
		name: "wrong hash in the header", fault: fault.Unavailable,
		want: "config.json of model acme/tiny came damaged: its SHA-256 is ",
		change: func(f *fakeHub) {
			f.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set(etagHash, `W/"`+hashOf("something else")+`"`)
				return false
			}
		},
	},
	{
		name: "traversal", want: `the hub lists a file "../../evil.json" of model acme/tiny, which would leave its folder`, fault: fault.Usage,
		change: func(f *fakeHub) { f.files["../../evil.json"] = "{}" },
	},
	{
		name: "absolute", want: `the hub lists a file "/etc/evil" of model acme/tiny, which would leave its folder`, fault: fault.Usage,
		change: func(f *fakeHub) { f.files["/etc/evil"] = "{}" },
	},
	{
		name: "backslashes", want: `the hub lists a file "..\\evil" of model acme/tiny, which would leave its folder`, fault: fault.Usage,
		change: func(f *fakeHub) { f.files[`..\evil`] = "{}" },
	},
	{
		name: "an index that names a file above", kind: "bert-tanh-sharded", fault: fault.Usage,
		want:   `model.safetensors.index.json of model acme/tiny names "../evil.safetensors", which the hub does not have`,
		change: func(f *fakeHub) { f.files[indexFile] = `{"weight_map":{"a":"../evil.safetensors"}}` },
	},
	{
		name: "an index that names another file", kind: "bert-tanh-sharded", fault: fault.Usage,
		want:   `model.safetensors.index.json of model acme/tiny names "pytorch_model.bin", which the hub does not have`,
		change: func(f *fakeHub) { f.files[indexFile] = `{"weight_map":{"a":"pytorch_model.bin"}}` },
	},
	{
		name: "no tokenizer", want: "model acme/tiny has no tokenizer.json on the hub", fault: fault.Usage,
		change: func(f *fakeHub) { delete(f.files, "tokenizer.json") },
	},
	{
		name: "no weights", fault: fault.Usage,
		want:   `model acme/tiny, of type "bert", has none of model.safetensors, model.safetensors.index.json, onnx/model.onnx, model.onnx on the hub`,
		change: func(f *fakeHub) { delete(f.files, weightsFile) },
	},
	{
		name: "no export of another type", want: `model acme/tiny, of type "t5", has none of onnx/model.onnx, model.onnx on the hub`, fault: fault.Usage,
		change: func(f *fakeHub) { f.files[configFile] = `{"model_type":"t5"}` },
	},
	{
		name: "unreadable config", want: "config.json of model acme/tiny is not valid: unexpected end of JSON input", fault: fault.Usage,
		change: func(f *fakeHub) { f.files[configFile] = `{` },
	},
	{
		name: "redirects without end", want: "HOST redirects without end for the list of its files of model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) {
			f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
				return true
			}
		},
	},
	{
		name: "a redirect to a file", want: "HOST redirects to something that is no address for the list of its files of model acme/tiny", fault: fault.Usage,
		change: func(f *fakeHub) {
			f.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Location", "file:///etc/passwd")
				w.WriteHeader(http.StatusFound)
				return true
			}
		},
	},
}

// status answers requests with a path that holds part.
func status(code int, part string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(code)
		return true
	}
}

// content is what requests with a path that ends with name get, from the hub or its store, unless
// that is a redirect.
func content(name, text string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, name) || large(name) && strings.Contains(r.URL.Path, "/resolve/") {
			return false
		}
		_, _ = io.WriteString(w, text)
		return true
	}
}

func TestPullSaysWhatWentWrongAndLeavesNothing(t *testing.T) {
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			kind := a.kind
			if kind == "" {
				kind = "bert-mean"
			}
			f := newFakeHub(t, kind)
			a.change(f)
			folder := t.TempDir()
			o := f.options(folder)
			o.Progress = func(file string, done, total int64) {
				if total >= 0 && done > total { // it would go on for as long as the hub sends
					t.Errorf("%d bytes of %s are kept, %d are right", done, file, total)
				}
			}
			_, err := Pull(t.Context(), o)
			want := strings.ReplaceAll(a.want, "HOST", strings.TrimPrefix(f.hub.URL, "http://"))
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(want, "SHA-256") && err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if fault.KindOf(err) != a.fault || fault.Try(err) == "" {
				t.Errorf("kind %v, try %q", fault.KindOf(err), fault.Try(err))
			}
			nothingLeft(t, folder)
			nothingLeft(t, filepath.Dir(folder), filepath.Base(folder))
		})
	}
}

func TestAModelThatIsNotReadIsRefusedBeforeItsWeightsAreFetched(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.files["1_Pooling/config.json"] = `{"pooling_mode":"max"}`
	folder := t.TempDir()
	_, err := Pull(t.Context(), f.options(folder))
	if want := `model acme/tiny: 1_Pooling/config.json: pooling "max" is not supported (mean and cls are)`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if fault.KindOf(err) != fault.Usage || fault.Try(err) != "choose another model" {
		t.Errorf("kind %v, try %q", fault.KindOf(err), fault.Try(err))
	}
	for _, path := range f.requests {
		if strings.HasSuffix(path, weightsFile) {
			t.Error("the weights were asked for")
		}
	}
	nothingLeft(t, folder)
}

func TestATokenThatIsNotAccepted(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.token = "another"
	o := f.options(t.TempDir())
	o.Token = testToken
	_, err := Pull(t.Context(), o)
	want := strings.TrimPrefix(f.hub.URL, "http://") + " does not accept the token, or has no model acme/tiny"
	if err == nil || err.Error() != want || strings.Contains(fmt.Sprintf("%+v", err)+fault.Try(err), testToken) {
		t.Errorf("%+v", err)
	}
}

// TestTheTokenStaysWithTheHub: not even another port of the same machine, nor http beside https,
// may see it.
func TestTheTokenStaysWithTheHub(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	o := f.options(t.TempDir())
	o.Token = testToken
	var asked atomic.Int32
	f.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/resolve/") && r.Header.Get("Authorization") == "Bearer "+testToken {
			asked.Add(1)
		}
		return false
	}
	if _, err := Pull(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if asked.Load() == 0 || len(f.leaked) > 0 {
		t.Errorf("%d requests to the hub had the token, the store saw it for %v", asked.Load(), f.leaked)
	}
}

// sent records the requests of a client instead of sending them.
type sent []*http.Request

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	*s = append(*s, r)
	return nil, errors.New("not sent")
}

func TestTheTokenGoesToNoOtherSchemeOrAddress(t *testing.T) {
	c, err := newClient("https://hub.example/mirror", testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	f := func(address string, goes bool) {
		t.Helper()
		var s sent
		c.http.Transport = &s
		target, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := c.send(t.Context(), target); err == nil {
			response.Body.Close()
			t.Error("sent")
		}
		if got := s[0].Header.Get("Authorization") != ""; got != goes {
			t.Errorf("%s: the token goes along: %v", address, got)
		}
	}
	f("https://hub.example/mirror/x", true)
	f("https://hub.example/elsewhere", true)
	f("http://hub.example/mirror/x", false)
	f("https://hub.example:444/mirror/x", false)
	f("https://cdn.hub.example/x", false)
	f("https://hub.example.evil/x", false)
}

func TestAModelThatCannotBeReplacedStays(t *testing.T) {
	folder := t.TempDir()
	target, aside := filepath.Join(folder, "tiny"), filepath.Join(folder, "aside")
	if err := errors.Join(os.Mkdir(target, 0o755), os.Mkdir(aside, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := moveInto(target, filepath.Join(folder, "absent"), aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("the old model is gone: %v", err)
	}
}

func TestAnInterruptedPullLeavesNothing(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	ctx, cancel := context.WithCancel(t.Context())
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/"+weightsFile {
			return false
		}
		w.Header().Set("Content-Length", "86392")
		_, _ = io.WriteString(w, f.files[weightsFile][:5000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	folder := t.TempDir()
	if _, err := Pull(ctx, f.options(folder)); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Internal {
		t.Errorf("%v", err)
	}
	nothingLeft(t, folder)
}

func TestAHubThatHangsUpOrStalls(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	var stalls atomic.Bool
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/"+weightsFile {
			return false
		}
		w.Header().Set("Content-Length", "86392")
		_, _ = io.WriteString(w, f.files[weightsFile][:5000])
		w.(http.Flusher).Flush()
		if stalls.Load() {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	folder := t.TempDir()
	o := f.options(folder)
	prefix := "fetching model.safetensors of model acme/tiny from " + strings.TrimPrefix(f.hub.URL, "http://") + ": "
	_, err := Pull(t.Context(), o)
	if err == nil || err.Error() != prefix+"unexpected EOF" || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("hung up: %v", err)
	}
	nothingLeft(t, folder)
	stalls.Store(true)
	c, err := newClient(o.Address, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.stall = 20 * time.Millisecond
	_, err = pull(t.Context(), c, o)
	if err == nil || err.Error() != prefix+"nothing was received for too long" || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("stalled: %v", err)
	}
	nothingLeft(t, folder)
}

func TestAHubThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	o := Options{Address: server.URL, Model: Reference{Name: testName, Revision: "main"}, Folder: t.TempDir()}
	server.Close()
	_, err := Pull(t.Context(), o)
	if err == nil || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "refused") || !strings.Contains(fault.Try(err), "encoder.hub") {
		t.Errorf("%v", err)
	}
	for _, address := range []string{"", "huggingface.co", "ftp://huggingface.co", "https://user:pa55@huggingface.co", "https://\x7f"} {
		o.Address = address
		if _, err := Pull(t.Context(), o); fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "pa55") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), f.options(filepath.Join(file, "model"))); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "WAL2VEC_HOME") {
		t.Errorf("%v", err)
	}
}

func TestParseReference(t *testing.T) {
	f := func(text, name, revision, folder string) {
		t.Helper()
		got, err := ParseReference(text)
		if err != nil || got.Name != name || got.Revision != revision || got.Folder() != folder {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	f("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "main", "all-MiniLM-L6-v2")
	f("gpt2", "gpt2", "main", "gpt2")
	f("a/b@v1.0", "a/b", "v1.0", "b")
	f("a/b@refs/pr/3", "a/b", "refs/pr/3", "b")
	for _, bad := range []string{
		"", "@main", "a/b@", "../a", "a/..", "a/b/c", "/a", "a/", "-a/b", ".a", "a b", "a/b@../../x", "a/b@-x", "a/b@x y", "a/b@x@y", "a\\b",
		"https://huggingface.co/a/b", strings.Repeat("a", 97),
	} {
		if got, err := ParseReference(bad); fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

// TestAnAddressInTheNamesPlaceShowsNoPassword: people paste what they see in a browser, or in a
// script.
func TestAnAddressInTheNamesPlaceShowsNoPassword(t *testing.T) {
	for text, want := range map[string]string{
		"https://u:12345678@h/x":         `"https…" is not the name of a model on a hub`,
		"u:12345678@h":                   `"u…" is not the name of a model on a hub`,
		"https://h/x?token=12345678":     `"https…" is not the name of a model on a hub`,
		"acme/tiny@https://u:12345678@h": `"https…" is not a branch, tag or commit`,
		"a b":                            `"a…" is not the name of a model on a hub`,
		"a/b/c":                          `"a/b/c" is not the name of a model on a hub`,
		strings.Repeat("a", 200):         `"` + strings.Repeat("a", 100) + `…" is not the name of a model on a hub`,
	} {
		if _, err := ParseReference(text); err == nil || err.Error() != want || strings.Contains(fault.Try(err), "12345678") {
			t.Errorf("%s: %v (%s)", text, err, fault.Try(err))
		}
	}
}
