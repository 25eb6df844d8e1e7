package forwarder

import (
	"crypto/sha256"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// windowReasons bounds what the reasons in the verdicts of the window take, in bytes.
const windowReasons = 8 << 20

// digest names a request.
type digest [16]byte

// ofTenant is added to the schema in the digest of a request that has a tenant.
const ofTenant = 0x80

// digestOf returns the digest of a request, whose tenant may be nil. The same bytes of
// two tenants are two requests.
func digestOf(schema byte, tenant *segment.Label, body []byte) digest {
	h := sha256.New()
	if tenant == nil {
		h.Write([]byte{schema})
	} else {
		h.Write(segment.AppendLabel([]byte{schema | ofTenant}, tenant.Name, tenant.Value))
	}
	h.Write(body)
	var sum [sha256.Size]byte
	return digest(h.Sum(sum[:0])[:len(digest{})])
}

// answer is what a request is told, once a block is durable.
type answer struct {
	place
	verdict segment.Verdict
}

// repeatWindow remembers the answers to the last requests, by their digests, and of the
// latest of them the reasons in words.
type repeatWindow struct {
	size  int
	ring  []windowEntry
	next  int
	index map[digest]int // into the ring

	mostReasons, reasons int // in bytes
	// reasonsFrom is the index of the oldest whose reasons may be kept.
	reasonsFrom int
}

// reasonsForgotten stands for the reasons of an older request.
const reasonsForgotten = "the reasons are not kept any more: others were refused since"

type windowEntry struct {
	digest digest
	answer answer
}

func newRepeatWindow(size, mostReasons int) *repeatWindow {
	return &repeatWindow{size: size, mostReasons: mostReasons, index: map[digest]int{}}
}

func (w *repeatWindow) find(d digest) (answer, bool) {
	i, ok := w.index[d]
	if !ok {
		return answer{}, false
	}
	a := w.ring[i].answer
	if len(a.verdict.Errors) == 0 && a.verdict.Code != uint8(linkv1.Code_CODE_OK) {
		a.verdict.Errors = []string{reasonsForgotten}
	}
	return a, true
}

// add remembers an answer, and forgets the oldest when there are too many.
func (w *repeatWindow) add(d digest, a answer) {
	if _, ok := w.index[d]; ok {
		return
	}
	if len(w.ring) < w.size {
		w.ring = append(w.ring, windowEntry{})
	} else {
		if w.reasonsFrom == w.next {
			w.forgetNextReasons()
		}
		delete(w.index, w.ring[w.next].digest)
	}
	w.ring[w.next] = windowEntry{d, a}
	w.index[d] = w.next
	w.next = (w.next + 1) % w.size
	w.reasons += segment.ErrorBytes(a.verdict.Errors)
	for w.reasons > w.mostReasons {
		w.forgetNextReasons()
	}
	if invariant.On {
		invariant.Check(len(w.index) == len(w.ring) && w.reasons >= 0, "%d digests of %d answers with %d bytes of reasons", len(w.index), len(w.ring), w.reasons)
	}
}

// forgetNextReasons drops the reasons of the oldest answer that may have any.
func (w *repeatWindow) forgetNextReasons() {
	v := &w.ring[w.reasonsFrom].answer.verdict
	w.reasons -= segment.ErrorBytes(v.Errors)
	v.Errors = nil
	w.reasonsFrom = (w.reasonsFrom + 1) % w.size
}
