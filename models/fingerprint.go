package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// fingerprintDigits is the length of a fingerprint: 128 bits, far beyond collisions by chance, and
// short enough for a log line.
const fingerprintDigits = 32

// hash computes the fingerprint. The precision and the generator's version are not in it: graphs of
// either write the same space.
func (c *Checkpoint) hash() (string, error) {
	var sums []string
	for _, name := range c.weights { // hashed where they were read
		sums = append(sums, c.sources[name])
	}
	if err := c.hashTokenizer(); err != nil {
		return "", err
	}
	model := "onnx export"
	if c.export == nil {
		a := c.architecture
		model = fmt.Sprintf("%s layers=%d heads=%d act=%s eps=%g", a.ModelType, a.Layers, a.Heads, a.HiddenAct, a.LayerNormEps)
	}
	return digest(
		"wal2vec model 1",
		"weights "+strings.Join(sums, " "),
		"tokenizer "+c.sources[tokenizerFile],
		model,
		c.tail.String(),
		fmt.Sprintf("tokens %d", c.maxTokens),
	), nil
}

// TextFingerprint adds to a model's fingerprint what the caller does to a text before the model
// sees it: the prefix and the template, with the number of the rule by which it is filled. The
// result names a generation's vector space.
func TextFingerprint(model, prefix, template string, rule int) string {
	return digest(fmt.Sprintf("wal2vec text %d", rule), model, fmt.Sprintf("%q", prefix), fmt.Sprintf("%q", template))
}

func digest(lines ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])[:fingerprintDigits]
}

// hashTokenizer hashes tokenizer.json without its padding and truncation, which the encoder
// replaces, and without its white space: copies of one tokenizer that differ only there cut texts
// into the same tokens.
func (c *Checkpoint) hashTokenizer() error {
	data, found, err := c.files.read(tokenizerFile)
	if err != nil {
		return err
	}
	if !found {
		return missing(c.dir, tokenizerFile+" is missing")
	}
	c.tokenizerSum = sha256.Sum256(data)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return unsupported(c.dir, "%s is not valid: %v", tokenizerFile, err)
	}
	if _, ok := fields["model"]; !ok {
		return unsupported(c.dir, "%s has no model", tokenizerFile)
	}
	delete(fields, "padding")
	delete(fields, "truncation")
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var canonical bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&canonical, "%q:", name)
		if err := json.Compact(&canonical, fields[name]); err != nil {
			return fmt.Errorf("compacting the tokenizer: %w", err)
		}
		canonical.WriteByte('\n')
	}
	sum := sha256.Sum256(canonical.Bytes())
	c.sources[tokenizerFile] = hex.EncodeToString(sum[:])
	return nil
}
