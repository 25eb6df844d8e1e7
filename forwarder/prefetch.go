package forwarder

import "github.com/promgrpc/exporter/forwarder/remotewrite"

// prefetch works out the keys of the next series of a request together, and loads
// their cells of the table. Where one guess after another is wrong, as with new series,
// more will be: each time twice as many are loaded.
type prefetch struct {
	keys []remotewrite.Key
	from int // which series of the request the first is of
}

// maxPrefetch is what the processor's caches hold easily.
const maxPrefetch = 128

// reset starts another request.
func (p *prefetch) reset() { p.keys, p.from = p.keys[:0], 0 }

// key returns the key of the i-th series of a request, i growing from call to
// call.
func (p *prefetch) key(req *remotewrite.Request, i int, t *keyTable) remotewrite.Key {
	end := p.from + len(p.keys)
	if i >= end {
		n := 1
		if i == end {
			n = min(max(1, 2*len(p.keys)), maxPrefetch, len(req.Series)-i)
		}
		p.keys, p.from = p.keys[:0], i
		for j := range n {
			p.keys = append(p.keys, req.Key(&req.Series[i+j]))
		}
		t.fetch(p.keys)
	}
	return p.keys[i-p.from]
}
