package forwarder

import "github.com/promgrpc/exporter/forwarder/remotewrite"

// ahead knows the keys of some series of a request before they are asked for.
// Where one guess after another is wrong, as with series that are new, more are
// going to be: their cells in the table are fetched together.
type ahead struct {
	keys []remotewrite.Key
	from int // which series of the request the first is of
}

// mostAhead is what the processor's own caches can easily hold.
const mostAhead = 128

// begin says that a new request begins.
func (a *ahead) begin() { a.keys, a.from = a.keys[:0], 0 }

// key returns the key of the i-th series of a request, i growing from call to
// call.
func (a *ahead) key(req *remotewrite.Request, i int, t *keyTable) remotewrite.Key {
	end := a.from + len(a.keys)
	if i >= end {
		n := 1
		if i == end {
			n = min(max(1, 2*len(a.keys)), mostAhead, len(req.Series)-i)
		}
		a.keys, a.from = a.keys[:0], i
		for j := range n {
			a.keys = append(a.keys, req.Key(&req.Series[i+j]))
		}
		t.fetch(a.keys)
	}
	return a.keys[i-a.from]
}
