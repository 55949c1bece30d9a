package hub

import (
	"crypto/sha1" //nolint:gosec // git's own hash of a file; the hub has no other for small ones
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// checksum is what a hub says of a file's content, in hex: the SHA-256 of 64 digits, or the 40
// digits that git gives to a blob. It is empty where the hub says nothing that we know.
type checksum string

var hexForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// checksumOf reads a hash as it stands in a listing or a header: W/"0123...".
func checksumOf(text string) checksum {
	text = strings.ToLower(strings.Trim(strings.TrimPrefix(text, "W/"), `"`))
	if !hexForm.MatchString(text) {
		return ""
	}
	return checksum(text)
}

// kind is the hash's name for people.
func (c checksum) kind() string {
	if len(c) == 2*sha256.Size {
		return "SHA-256"
	}
	return "git hash"
}

// of computes the same kind of hash over a file.
func (c checksum) of(file *os.File) (checksum, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	var sum hash.Hash
	if len(c) == 2*sha256.Size {
		sum = sha256.New()
	} else {
		sum = sha1.New() //nolint:gosec // as above
		fmt.Fprintf(sum, "blob %d\x00", info.Size())
	}
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, info.Size())); err != nil {
		return "", err
	}
	return checksum(hex.EncodeToString(sum.Sum(nil))), nil
}

// listed is the hash that the hub lists for a file; empty where it lists none. Of a large file git
// keeps a pointer alone, whose hash says nothing about the content.
func (f file) listed() checksum {
	if f.LFS == nil {
		return checksumOf(f.Blob)
	}
	if f.LFS.SHA256 != "" {
		return checksumOf(f.LFS.SHA256)
	}
	return checksumOf(strings.TrimPrefix(f.LFS.OID, "sha256:"))
}

// note keeps what the hub's own headers say about a file. Other hosts, where it redirects to, may
// give etags of any meaning.
func (c *client) note(a *answer, target *url.URL, head http.Header) {
	a.etag = ""
	if !c.own(target) {
		return
	}
	if linked := checksumOf(head.Get(etagHash)); linked != "" {
		a.linked = append(a.linked, linked)
	}
	a.etag = checksumOf(head.Get(plainEtag))
}

// checksums returns every hash that the hub gives for a file: what it lists, what its headers link
// to, and where it gave neither, what the ETag of a file says that it served itself.
func (a answer) checksums(f file) []checksum {
	list := a.linked
	if listed := f.listed(); listed != "" {
		list = append([]checksum{listed}, list...)
	}
	if len(list) == 0 && a.etag != "" {
		list = []checksum{a.etag}
	}
	return list
}
