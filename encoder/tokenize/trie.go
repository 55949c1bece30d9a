package tokenize

import (
	"slices"
	"strings"
)

// trie finds the longest token at the front of a word. It is a double array: a node is known by its
// base, and the cell of its child by a byte is at base XOR byte. No two nodes share a base, so a
// cell that carries the byte belongs to the node.
type trie struct {
	// cells hold the byte in bits 0 to 7, the base of the node in bits 8 to 31, and the token's id
	// + 1 from bit 32 on, 0 where no token ends.
	cells []uint64
	// whole and rest are the bases of two roots: tokens that begin a word, and those that continue
	// one, without their prefix.
	whole, rest uint32
	// begin is a cell as if it were that of the root of whole.
	begin uint64
}

// lost is the cell behind which nothing is found.
const lost = 0

// step returns the cell that follows a byte.
func (t *trie) step(cell uint64, c byte) uint64 {
	next := t.cells[uint32(cell)>>8^uint32(c)]
	if byte(next) != c {
		return lost
	}
	return next
}

// token is an entry of the vocabulary.
type token struct {
	text string
	id   int32
}

// unused is a byte that no UTF-8 text has: it marks free cells. The first block of 256 cells stays
// free, so that base 0 is that of a node without children.
const unused = 0xFF

// maxCells is what the bits of a base can count.
const maxCells = 1 << 24

// newTrie builds a trie of tokens of valid UTF-8 without empty ones; ok is false where there are
// too many.
func newTrie(whole, rest []token) (t trie, ok bool) {
	b := trieBuilder{}
	b.grow()
	t.whole, t.rest = b.root(whole), b.root(rest)
	t.cells, t.begin = b.cells, uint64(t.whole)<<8
	return t, len(t.cells) <= maxCells
}

// longest returns the id and the length in bytes of the longest token, from a root, that word
// begins with; 0 bytes where none does.
func (t *trie) longest(root uint32, word []byte) (id int32, size int) {
	base := root
	for i, c := range word {
		at := base ^ uint32(c)
		if at >= uint32(len(t.cells)) {
			break
		}
		cell := t.cells[at]
		if byte(cell) != c {
			break
		}
		base = uint32(cell) >> 8
		if found := cell >> 32; found != 0 {
			id, size = int32(found-1), i+1
		}
	}
	return id, size
}

type trieBuilder struct {
	cells []uint64
	taken []bool // bases that are some node's
	free  []int  // free cells of each block
	open  []int  // blocks that still take nodes, the newest last
}

// openBlocks bounds the search for a place. More would pack the trie a little denser and take
// longer.
const openBlocks = 16

func (b *trieBuilder) grow() int {
	block := len(b.free)
	for range 256 {
		b.cells = append(b.cells, unused)
		b.taken = append(b.taken, false)
	}
	b.free = append(b.free, 256)
	return block
}

func (b *trieBuilder) root(tokens []token) uint32 {
	tokens = slices.Clone(tokens)
	slices.SortFunc(tokens, func(x, y token) int { return strings.Compare(x.text, y.text) })
	return b.node(tokens, 0)
}

// node places the children of the node that all tokens, sorted and longer than depth, pass at a
// depth, and returns its base.
func (b *trieBuilder) node(tokens []token, depth int) uint32 {
	var labels []byte
	for i, t := range tokens {
		if i == 0 || t.text[depth] != labels[len(labels)-1] {
			labels = append(labels, t.text[depth])
		}
	}
	if len(labels) == 0 {
		return 0
	}
	base := b.place(labels)
	for _, label := range labels {
		end := 0
		for end < len(tokens) && tokens[end].text[depth] == label {
			end++
		}
		children := tokens[:end]
		tokens = tokens[end:]
		cell := uint64(label)
		if len(children[0].text) == depth+1 {
			cell |= uint64(children[0].id+1) << 32
			children = children[1:]
		}
		at := base ^ uint32(label)
		b.cells[at] = cell | uint64(b.node(children, depth+1))<<8
	}
	return base
}

// place finds a base whose cells for the labels are free, and takes them.
func (b *trieBuilder) place(labels []byte) uint32 {
	block, base := b.find(labels)
	b.taken[base] = true
	for _, label := range labels {
		b.cells[base^uint32(label)] = uint64(label) // node fills in the rest
	}
	if b.free[block] -= len(labels); b.free[block] == 0 {
		b.open = slices.DeleteFunc(b.open, func(o int) bool { return o == block })
	}
	return base
}

func (b *trieBuilder) find(labels []byte) (block int, base uint32) {
	for _, block := range b.open {
		if b.free[block] < len(labels) {
			continue
		}
		for base := uint32(block) << 8; base < uint32(block+1)<<8; base++ {
			if !b.taken[base] && b.fits(base, labels) {
				return block, base
			}
		}
	}
	block = b.grow()
	if b.open = append(b.open, block); len(b.open) > openBlocks {
		b.open = b.open[1:]
	}
	return block, uint32(block) << 8
}

func (b *trieBuilder) fits(base uint32, labels []byte) bool {
	for _, label := range labels {
		if byte(b.cells[base^uint32(label)]) != unused {
			return false
		}
	}
	return true
}
