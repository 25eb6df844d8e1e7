package head

import "github.com/promgrpc/exporter/internal/segment"

// A chunk of a keyframe is complete when it has chunkSeries series, or about chunkBytes
// of labels, histograms and metadata. The last entry may go beyond.
const (
	chunkSeries = 16384
	chunkBytes  = 4 << 20
)

// maxEntry is how large a series with its latest sample, or the metadata of a
// family, may be in a keyframe: it fits into a frame together with what a chunk holds
// already. What is larger is left out. It can only come if limits of requests were raised
// far beyond their defaults.
const maxEntry = segment.MaxPayload - 2*chunkBytes

// chunks cuts a keyframe into chunks of bounded size.
type chunks struct {
	k     segment.Keyframe
	table *tableBuilder
	bytes int // about what the chunk takes in a frame
	yield func(*segment.Keyframe) error
}

func newChunks(h *Head, yield func(*segment.Keyframe) error) *chunks {
	c := &chunks{k: segment.Keyframe{Sequence: h.sequence, NextRef: h.nextRef}, yield: yield}
	c.table = newTableBuilder(&h.labels, &c.k.Series)
	return c
}

func (c *chunks) addSeries(ref uint64, at labelsAt, l *segment.Latest) error {
	if c.k.Series.Len() == chunkSeries || c.bytes >= chunkBytes {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.bytes += c.table.add(ref, at) + len(l.Histogram)
	c.k.Latest = append(c.k.Latest, *l)
	return nil
}

func (c *chunks) addMetadata(m segment.Metadata) error {
	if c.bytes >= chunkBytes {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.bytes += metadataSize(&m)
	c.k.Metadata = append(c.k.Metadata, m)
	return nil
}

func (c *chunks) addElection(e segment.Election) error { //nolint:gocritic // It is copied in any case.
	if c.bytes >= chunkBytes {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.bytes += e.Bytes()
	c.k.Elections = append(c.k.Elections, e)
	return nil
}

// last ends the keyframe. A placement is small, and has room in any chunk.
func (c *chunks) last(p segment.Placement) error {
	c.k.Last, c.k.Placement = true, p
	return c.flush()
}

func (c *chunks) flush() error {
	err := c.yield(&c.k)
	c.table.reset()
	clear(c.k.Metadata)
	clear(c.k.Elections)
	c.k.Latest, c.k.Metadata, c.k.Elections, c.bytes = c.k.Latest[:0], c.k.Metadata[:0], c.k.Elections[:0], 0
	return err
}

// tooLarge reports whether a series does not fit into a keyframe.
func (h *Head) tooLarge(at labelsAt, l *segment.Latest) bool {
	row := h.labels.rowAt(at)
	if len(l.Histogram)+int(row.left)*h.labels.longest <= maxEntry {
		return false
	}
	size := len(l.Histogram)
	for row.left > 0 {
		size += len(h.labels.wires[row.next()])
	}
	return size > maxEntry
}
