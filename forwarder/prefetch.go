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
func (a *prefetch) reset() { a.keys, a.from = a.keys[:0], 0 }

// key returns the key of the i-th series of a request, i growing from call to
// call.
func (a *prefetch) key(req *remotewrite.Request, i int, t *keyTable) remotewrite.Key {
	end := a.from + len(a.keys)
	if i >= end {
		n := 1
		if i == end {
			n = min(max(1, 2*len(a.keys)), maxPrefetch, len(req.Series)-i)
		}
		a.keys, a.from = a.keys[:0], i
		for j := range n {
			a.keys = append(a.keys, req.Key(&req.Series[i+j]))
		}
		t.fetch(a.keys)
	}
	return a.keys[i-a.from]
}
