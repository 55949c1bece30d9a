package hub

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/models"
)

// without takes fields from every entry of a listing.
func without(fields ...string) func(map[string]any) {
	return func(l map[string]any) {
		for _, s := range l["siblings"].([]any) {
			for _, field := range fields {
				delete(s.(map[string]any), field)
			}
		}
	}
}

// altered is a file of the same length with other content.
func altered(text string) string { return strings.Repeat(" ", len(text)-1) + "x" }

// sending answers requests for a file with a body that goes on until the client has had enough, or
// for so many bytes.
func sending(part string, most int64) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		piece := []byte(strings.Repeat(" ", 1<<20))
		for sent := int64(0); sent < most && r.Context().Err() == nil; sent += int64(len(piece)) {
			if _, err := w.Write(piece); err != nil {
				break
			}
		}
		return true
	}
}

// endless is more than any bound on a small file, and no harm to the disk where one is missing.
const endless = 256 << 20

// pullFails expects one line, its kind, a way out, and nothing in the folder.
func pullFails(t *testing.T, f *fakeHub, most int64, kind fault.Kind, want string) {
	t.Helper()
	folder := t.TempDir()
	c, err := newClient(f.hub.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if most > 0 {
		c.most = most
	}
	_, err = pull(t.Context(), c, f.options(folder))
	want = strings.ReplaceAll(want, "HOST", strings.TrimPrefix(f.hub.URL, "http://"))
	if err == nil || err.Error() != want || fault.KindOf(err) != kind || fault.Try(err) == "" {
		t.Errorf("got  %v (kind %v, try %q)\nwant %s", err, fault.KindOf(err), fault.Try(err), want)
	}
	nothingLeft(t, folder)
}

func TestEveryFileHasTheHashThatTheHubGives(t *testing.T) {
	f := func(name, want string, change func(f *fakeHub, text string)) {
		t.Helper()
		h := newFakeHub(t, "bert-mean")
		text := h.files[name]
		h.intercept = content("/"+name, altered(text))
		change(h, text)
		pullFails(t, h, 0, fault.Unavailable, fmt.Sprintf("%s of model acme/tiny came damaged: its %s", name, want))
	}
	small := func(name string) string {
		text := newFakeHub(t, "bert-mean").files[name]
		return fmt.Sprintf("git hash is %s, the hub says %s", blobHashOf(altered(text)), blobHashOf(text))
	}
	nothing := func(*fakeHub, string) {}
	for _, name := range []string{configFile, tokenizerFile, modulesFile, "1_Pooling/config.json", "sentence_bert_config.json"} {
		f(name, small(name), nothing)
	}
	// Where the listing has none: a header with the hash of what is linked to, or the ETag of a
	// file that the hub serves itself.
	for header, form := range map[string]string{etagHash: `"%s"`, plainEtag: `W/"%s"`} {
		f(configFile, small(configFile), func(h *fakeHub, text string) {
			h.listed = without("blobId")
			body := h.intercept
			h.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/"+configFile) {
					w.Header().Set(header, fmt.Sprintf(form, blobHashOf(text)))
				}
				return body(w, r)
			}
		})
	}
	// A hash in capitals is one too.
	f(configFile, small(configFile), func(h *fakeHub, text string) {
		h.listed = func(l map[string]any) {
			for _, s := range l["siblings"].([]any) {
				if entry := s.(map[string]any); entry["rfilename"] == configFile {
					entry["blobId"] = strings.ToUpper(blobHashOf(text))
				}
			}
		}
	})
}

// TestTheStoreDoesNotNameTheHash: where a hub redirects to is not asked what the file should be,
// and its etags may mean anything.
func TestTheStoreDoesNotNameTheHash(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/"+weightsFile {
			w.Header().Set(etagHash, hashOf("anything"))
			w.Header().Set(plainEtag, hashOf("anything"))
		}
		return false
	}
	if _, err := Pull(t.Context(), f.options(t.TempDir())); err != nil {
		t.Error(err)
	}
	text := f.files[weightsFile]
	f.listed = without("lfs", "blobId")
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/"+weightsFile {
			return false
		}
		w.Header().Set(etagHash, hashOf(altered(text)))
		_, _ = io.WriteString(w, altered(text))
		return true
	}
	pullFails(t, f, 0, fault.Unavailable, fmt.Sprintf("model.safetensors of model acme/tiny came damaged: its SHA-256 is %s, the hub says %s",
		hashOf(altered(text)), hashOf(text)))
}

func TestEveryFileHasABound(t *testing.T) {
	f := func(name, part string, most int64) {
		t.Helper()
		h := newFakeHub(t, "bert-mean")
		want := fmt.Sprintf("%s of model acme/tiny has more than %d bytes, the most that such a file may have", name, most)
		h.listed = without("size", "lfs", "blobId")
		h.intercept = sending(part, endless) // in chunks, without a length
		pullFails(t, h, 0, fault.Usage, want)
		h.intercept = nil
		h.listed = func(l map[string]any) {
			for _, s := range l["siblings"].([]any) {
				if entry := s.(map[string]any); entry["rfilename"] == name {
					entry["size"] = most + 1
				}
			}
		}
		pullFails(t, h, 0, fault.Usage, want)
	}
	f(configFile, "/"+testCommit+"/"+configFile, models.MaxConfigBytes)
	f("1_Pooling/config.json", "/1_Pooling/config.json", models.MaxConfigBytes)
	f(tokenizerFile, "/"+tokenizerFile, models.MaxTokenizerBytes)

	h := newFakeHub(t, "onnx-pooled")
	h.listed = func(l map[string]any) {
		for _, s := range l["siblings"].([]any) {
			if entry := s.(map[string]any); entry["rfilename"] == "onnx/model.onnx" {
				entry["size"] = models.MaxExportBytes + 1
			}
		}
	}
	pullFails(t, h, 0, fault.Usage, "onnx/model.onnx of model acme/tiny has more than 2147483647 bytes, the most that such a file may have")
}

func TestAllFilesTogetherHaveABound(t *testing.T) {
	const want = "the files of model acme/tiny have more than 25000 bytes together"
	for _, kind := range []string{"bert-mean", "bert-tanh-sharded"} { // 30 KB and more
		f := newFakeHub(t, kind)
		pullFails(t, f, 25_000, fault.Usage, want)
		for _, path := range f.requests {
			if strings.HasSuffix(path, ".safetensors") {
				t.Errorf("%s: %s was asked for, though the listing says its size", kind, path)
			}
		}
		f.listed = without("size", "lfs", "blobId")
		pullFails(t, f, 25_000, fault.Usage, want)
	}
	f := newFakeHub(t, "bert-mean")
	f.listed = without("size", "lfs", "blobId")
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/resolve/") && sending("/"+weightsFile, endless)(w, r)
	}
	pullFails(t, f, 25_000, fault.Usage, want)
	if defaultMost > 1<<40 {
		t.Error("the bound is none")
	}
}

func TestAListingHasABound(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.intercept = sending("/api/", endless)
	pullFails(t, f, 0, fault.Usage, fmt.Sprintf("the list of files of model acme/tiny is larger than %d bytes", maxListingBytes))
}

// TestWhatAListingNamesHasABound: each name is looked for among the files.
func TestWhatAListingNamesHasABound(t *testing.T) {
	many := func(n int, form string) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf(form, i, i))
		}
		return strings.Join(names, ",")
	}
	f := newFakeHub(t, "bert-mean")
	f.listed = func(l map[string]any) {
		for i := range mostFiles {
			l["siblings"] = append(l["siblings"].([]any), map[string]any{"rfilename": fmt.Sprint(i)})
		}
	}
	pullFails(t, f, 0, fault.Usage, fmt.Sprintf("the hub lists %d files of model acme/tiny, more than 10000", mostFiles+len(f.files)))
	f = newFakeHub(t, "bert-mean")
	f.files[modulesFile] = "[" + many(mostModules+1, `{"path":"%d_%d"}`) + "]"
	pullFails(t, f, 0, fault.Usage, "modules.json of model acme/tiny names 101 modules, more than 100")
	f = newFakeHub(t, "bert-mean")
	delete(f.files, weightsFile)
	f.files[indexFile] = `{"weight_map":{` + many(mostShards+1, `"t%d":"s%d.safetensors"`) + "}}"
	pullFails(t, f, 0, fault.Usage, "model.safetensors.index.json of model acme/tiny names 1001 files, more than 1000")
}

// TestNothingIsDecompressed: a few bytes cannot become many, neither of a listing nor of a file.
func TestNothingIsDecompressed(t *testing.T) {
	f := func(part, what string) {
		t.Helper()
		h := newFakeHub(t, "bert-mean")
		h.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("%s is asked for as %q", r.URL.Path, r.Header.Get("Accept-Encoding"))
			}
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, 1<<20))
			_ = z.Close()
			return true
		}
		pullFails(t, h, 0, fault.Usage, "HOST compresses "+what+" of model acme/tiny, which was not asked for")
	}
	f("/api/", "the list of its files")
	f("/"+configFile, "config.json")
}

func TestAListingThatLies(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.listed = func(l map[string]any) { l["siblings"].([]any)[0].(map[string]any)["size"] = -1 }
	folder := t.TempDir()
	if _, err := Pull(t.Context(), f.options(folder)); err == nil || !strings.HasPrefix(err.Error(), "the hub lists -1 bytes for ") {
		t.Errorf("%v", err)
	}
	nothingLeft(t, folder)
	// Shorter than announced, where the listing says nothing.
	f.listed = without("size", "lfs", "blobId")
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/"+configFile) {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, "{}")
		return true
	}
	pullFails(t, f, 0, fault.Unavailable, "fetching config.json of model acme/tiny from HOST: unexpected EOF")
}

func TestNamesThatCannotStandBesideOneAnother(t *testing.T) {
	f := func(want string, folders ...string) {
		t.Helper()
		h := newFakeHub(t, "bert-mean")
		var named []string
		for i, folder := range folders {
			h.files[folder+"/config.json"] = fmt.Sprintf(`{"n":%d}`, i)
			named = append(named, fmt.Sprintf(`{"path":%q}`, folder))
		}
		h.files[modulesFile] = "[" + strings.Join(named, ",") + "]"
		pullFails(t, h, 0, fault.Usage, want)
	}
	f(`"1_Pooling/config.json" and "1_POOLING/config.json" of model acme/tiny cannot stand beside one another`, "1_Pooling", "1_POOLING")
	f(`"config.json" and "config.json/config.json" of model acme/tiny cannot stand beside one another`, "config.json")
	f(`"tokenizer.json" and "Tokenizer.json/config.json" of model acme/tiny cannot stand beside one another`, "Tokenizer.json")
	f(`"NUL/config.json" of model acme/tiny has a name that not every system can keep`, "NUL")
	f(`"aux.d/config.json" of model acme/tiny has a name that not every system can keep`, "aux.d")
	f(`"1_Pooling./config.json" of model acme/tiny has a name that not every system can keep`, "1_Pooling.")
}

// TestOnlyModulesThatAreNamedAreFetched: a hub may list thousands of folders.
func TestOnlyModulesThatAreNamedAreFetched(t *testing.T) {
	f := newFakeHub(t, "bert-mean")
	f.files["checkpoint-1000/config.json"] = "{}"
	got, err := Pull(t.Context(), f.options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(got.Folder, "1_Pooling", configFile)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(got.Folder, "checkpoint-1000")); err == nil {
		t.Error("a folder that no module names was fetched")
	}
	f.files[modulesFile] = `[{"path":"../elsewhere"},{"path":"/etc"},{"path":"a/b"},{"path":"1_Pooling"}]`
	folder := t.TempDir()
	_, err = Pull(t.Context(), f.options(folder))
	if err == nil || !strings.Contains(err.Error(), `names the folder "../elsewhere", which is not inside the model's`) {
		t.Errorf("%v", err)
	}
	nothingLeft(t, folder)
}

// dripping gives so many bytes a second, for as long as it is read.
type dripping struct {
	ctx  context.Context //nolint:containedctx // stands for a request's body
	each int
}

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		return min(d.each, len(p)), nil
	}
}

// TestAByteNowAndThenIsNoProgress: a hub could hold the program for years without ever being silent
// for a minute.
func TestAByteNowAndThenIsNoProgress(t *testing.T) {
	f := func(each int, stalls bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			timer := time.AfterFunc(defaultStall, func() { cancel(errStalled) })
			defer timer.Stop()
			w := &watched{ctx: ctx, body: dripping{ctx: ctx, each: each}, timer: timer, stall: defaultStall}
			_, err := io.CopyN(io.Discard, w, int64(each)*600) // ten minutes of them
			if got := errors.Is(err, errStalled); got != stalls || !stalls && err != nil {
				t.Errorf("%d bytes a second: %v", each, err)
			}
		})
	}
	f(1, true)
	f(100, true)
	f(1000, false)
	f(1<<20, false)
}
