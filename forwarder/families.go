package forwarder

import (
	"strings"
	"unicode/utf8"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// families is what the appender knows of the metadata of metric families: enough
// to tell what is new, and how much of it there is.
type families struct {
	known   map[string]*family
	bytes   int // of the names and texts of all
	request int // counts the requests
	// max and maxBytes are the limits.
	max, maxBytes int
}

type family struct {
	hash  uint64 // of what was said last
	said  int64  // when that was, in ms
	bytes int
	// request that said something new last, and the index of that in its block.
	request, index int
}

func newFamilies() *families { return &families{known: map[string]*family{}} }

// recall rebuilds from a head what is known, all of it said at a time or later.
func (f *families) recall(h *head.Head, said int64) {
	before := f.known
	f.known, f.bytes = map[string]*family{}, 0
	for _, m := range h.Metadata() {
		of := &family{
			hash:  remotewrite.MetadataHash(m.Type, remotewrite.HashBytes([]byte(m.Help)), remotewrite.HashBytes([]byte(m.Unit))),
			said:  said,
			bytes: len(m.Family) + len(m.Help) + len(m.Unit),
		}
		if known := before[m.Family]; known != nil {
			of.said = max(of.said, known.said)
		}
		f.known[m.Family] = of
		f.bytes += of.bytes
	}
}

// add puts what is new about a family into a block. A block has a family once, with
// what was said last. spend is told how many bytes that takes, and may refuse them.
func (f *families) add(name []byte, m *remotewrite.Metadata, b *segment.Block, spend func(bytes int) error) error {
	of, ok := f.known[string(name)]
	if !ok && !utf8.Valid(name) {
		of, ok = f.known[valid(name)]
	}
	if ok && of.hash == m.Hash {
		of.said = b.Time
		return nil
	}
	said := metadataOf(name, m)
	if !ok {
		of = &family{}
	}
	size := len(said.Family) + len(said.Help) + len(said.Unit)
	switch {
	case !ok && len(f.known) >= f.max:
		return limit.Over(flagFamilies, "metadata of a new family, and there is that of %d, the limit is %d", len(f.known), f.max)
	case size > of.bytes && f.bytes-of.bytes+size > f.maxBytes:
		return limit.Over(flagMetadataBytes, "metadata of %d bytes, and there are %d, the limit is %d", size, f.bytes, f.maxBytes)
	}
	if err := spend(size); err != nil {
		return err
	}
	f.bytes += size - of.bytes
	of.hash, of.said, of.bytes = m.Hash, b.Time, size
	f.known[said.Family] = of
	if of.request == f.request {
		b.Metadata[of.index] = said
		return nil
	}
	of.request, of.index = f.request, len(b.Metadata)
	b.Metadata = append(b.Metadata, said)
	return nil
}

func metadataOf(family []byte, m *remotewrite.Metadata) segment.Metadata {
	said := segment.Metadata{Family: valid(family), Type: m.Type, Help: valid(m.Help), Unit: valid(m.Unit)}
	if _, ok := metricTypes[said.Type]; !ok {
		said.Type = 0
	}
	return said
}

func valid(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// keep says which metadata stays at a rotation: that of families of which a
// series is live, and what was said since an instant.
func (f *families) keep(since int64) head.KeepFamily {
	return func(m segment.Metadata, live func(name string) bool) bool {
		if of := f.known[m.Family]; of != nil && of.said >= since {
			return true
		}
		return m.HasSeries(live)
	}
}

// forget forgets the families that the head has forgotten.
func (f *families) forget(h *head.Head) {
	for name, of := range f.known {
		if !h.HasMetadata(name) {
			delete(f.known, name)
			f.bytes -= of.bytes
		}
	}
}
