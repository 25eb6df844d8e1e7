package seglog

import "github.com/promgrpc/exporter/internal/segment"

// ring has the newest decoded blocks, of consecutive sequences, within a bound of
// estimated bytes.
type ring struct {
	limit, bytes int
	blocks       []*segment.Block
	sizes        []int
	head         int // of the oldest in blocks
}

func (r *ring) push(b *segment.Block) {
	if n := len(r.blocks); n > r.head && r.blocks[n-1].Sequence+1 != b.Sequence {
		r.clear()
	}
	size := b.EstimatedBytes()
	r.blocks, r.sizes = append(r.blocks, b), append(r.sizes, size)
	r.bytes += size
	for r.bytes > r.limit && r.head < len(r.blocks) {
		r.bytes -= r.sizes[r.head]
		r.blocks[r.head] = nil
		r.head++
	}
	if r.head > len(r.blocks)/2 {
		n := copy(r.blocks, r.blocks[r.head:])
		clear(r.blocks[n:])
		copy(r.sizes, r.sizes[r.head:])
		r.blocks, r.sizes, r.head = r.blocks[:n], r.sizes[:n], 0
	}
}

func (r *ring) clear() { *r = ring{limit: r.limit} }

func (r *ring) get(seq uint64) *segment.Block {
	if len(r.blocks) == r.head {
		return nil
	}
	first := r.blocks[r.head].Sequence
	if seq < first || seq-first >= uint64(len(r.blocks)-r.head) {
		return nil
	}
	return r.blocks[r.head+int(seq-first)]
}
