package encoder

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sync"
)

// The vectors of sentence-transformers in fp32, written by scripts/reference_vectors.py.
var (
	//go:embed reference/texts.json
	referenceTexts []byte
	//go:embed reference/all-MiniLM-L6-v2.f32
	miniLMVectors []byte
	//go:embed reference/all-MiniLM-L6-v2.tokens.json
	miniLMTokens []byte
)

// miniLM is the fingerprint of all-MiniLM-L6-v2 (models.Checkpoint.Fingerprint), the one model with
// stored vectors.
const miniLM = "f8bcdcbb774ee38faa65d7d0bc688456"

// Reference is a text with the vector that sentence-transformers gives it.
type Reference struct {
	Text string
	// Vector is of length 1; nil for a model without stored vectors.
	Vector []float32
	// Tokens is the number of tokens before the text is cut, special tokens included; 0 for a model
	// without stored vectors.
	Tokens int
}

// References returns the reference texts, the short ones for the self-test first, with their
// vectors where the model with this fingerprint has stored ones.
func References(fingerprint string) []Reference {
	all := parseReferences()
	list := make([]Reference, len(all))
	copy(list, all)
	if fingerprint != miniLM {
		for i := range list {
			list[i] = Reference{Text: list[i].Text}
		}
	}
	return list
}

// parseReferences panics on embedded files that do not fit together, which is a fault of the build.
var parseReferences = sync.OnceValue(func() []Reference {
	var texts []string
	if err := json.Unmarshal(referenceTexts, &texts); err != nil {
		panic(fmt.Errorf("parsing the reference texts: %w", err))
	}
	var tokens []int
	if err := json.Unmarshal(miniLMTokens, &tokens); err != nil {
		panic(fmt.Errorf("parsing the reference texts' lengths: %w", err))
	}
	if len(texts) == 0 || len(tokens) != len(texts) || len(miniLMVectors)%(4*len(texts)) != 0 {
		panic("the reference texts and vectors do not fit together")
	}
	dimension := len(miniLMVectors) / 4 / len(texts)
	list := make([]Reference, len(texts))
	for i, text := range texts {
		vector := make([]float32, dimension)
		for j := range vector {
			vector[j] = math.Float32frombits(binary.LittleEndian.Uint32(miniLMVectors[4*(i*dimension+j):]))
		}
		list[i] = Reference{Text: text, Vector: vector, Tokens: tokens[i]}
	}
	return list
})
