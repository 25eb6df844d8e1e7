package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Flags of a series in a keyframe.
const (
	latestNone      = 1 << 0
	latestHistogram = 1 << 1
)

// AppendKeyframe appends a chunk of the keyframe. Its sequence is the one before
// the segment's first. A chunk over the limits of a frame is ErrTooLarge: try
// again with fewer series, or less metadata.
func (e *Encoder) AppendKeyframe(dst []byte, k *Keyframe, timeMS int64, synced uint64) ([]byte, error) {
	h := FrameHeader{
		Kind: KindKeyframe, Sequence: k.Sequence, Time: timeMS,
		Series: count(k.Series.Refs), Metadata: count(k.Metadata),
		MinTime: noMinTime, MaxTime: noMaxTime, Synced: synced, Prev: e.prev,
	}
	if k.Last {
		h.Flags |= FlagLast
	}
	h.setOptional(k.Elections, k.Placement)
	if err := h.check(); err != nil {
		return dst, err
	}
	if err := e.checkNext(&h); err != nil {
		return dst, err
	}
	if len(k.Latest) != k.Series.Len() {
		return dst, fmt.Errorf("keyframe: %w: %d series, %d latest", ErrCorrupt, k.Series.Len(), len(k.Latest))
	}
	known, next := len(e.refs), e.next
	e.reset()
	out, err := e.keyframe(dst, k, &h)
	if err != nil {
		e.rollBack(known, next)
		return dst, err
	}
	if k.Last {
		e.next = k.NextRef
	}
	e.advance(&h)
	if invariant.On {
		e.checkKeyframe(out[len(dst):], k)
	}
	return out, nil
}

func (e *Encoder) keyframe(dst []byte, k *Keyframe, h *FrameHeader) ([]byte, error) {
	if err := e.newSeries(&k.Series, e.columns[keyLabels:]); err != nil {
		return dst, fmt.Errorf("keyframe: %w", err)
	}
	e.keyframeLatest(k.Latest, h)
	if k.NextRef < e.next || k.NextRef > maxSequence {
		return dst, fmt.Errorf("keyframe: %w: next reference %d", ErrCorrupt, k.NextRef)
	}
	e.columns[keyHead] = binary.AppendUvarint(e.columns[keyHead], k.NextRef)
	e.columns[keyMetadata] = appendMetadata(e.columns[keyMetadata], k.Metadata)
	var err error
	if e.columns[keyElections], err = appendElections(e.columns[keyElections], k.Elections); err != nil {
		return dst, fmt.Errorf("keyframe: %w", err)
	}
	if e.columns[keyPlacement], err = appendPlacement(e.columns[keyPlacement], k.Placement); err != nil {
		return dst, fmt.Errorf("keyframe: %w", err)
	}
	return e.frame(dst, h, e.columns[:keySections])
}

// keyframeLatest fills the columns of the latest samples: times as differences
// to the series before, values as differences to 0. They become the previous values of
// the segment's first samples.
func (e *Encoder) keyframeLatest(latest []Latest, h *FrameHeader) {
	c := &e.columns
	var before Latest
	e.latest = resize(e.latest, len(latest))
	for i := range latest {
		l := &latest[i]
		c[keyTimestamps] = appendVarint(c[keyTimestamps], l.Timestamp-before.Timestamp)
		c[keyStarts] = appendVarint(c[keyStarts], l.StartTimestamp-before.StartTimestamp)
		c[keyWritten] = appendVarint(c[keyWritten], l.Written-before.Written)
		before = *l
		var flags byte
		e.latest[i] = 0
		switch {
		case l.None:
			flags = latestNone
		case l.Histogram != nil:
			flags = latestHistogram
			c[keyHistograms] = binary.AppendUvarint(c[keyHistograms], uint64(len(l.Histogram)))
			c[keyHistogramData] = append(c[keyHistogramData], l.Histogram...)
		default:
			e.latest[i] = l.Value
		}
		if !l.None {
			h.MinTime, h.MaxTime = min(h.MinTime, l.Timestamp), max(h.MaxTime, l.Timestamp)
		}
		c[keyFlags] = append(c[keyFlags], flags)
	}
	e.values.reset(len(latest))
	e.values.append(0, e.latest, e.bits[len(e.bits)-len(latest):])
	e.values.copyTo(c[keyTags : keyXORs+1])
}

// Keyframe decodes a chunk of the keyframe into k, whose slices are reused. Label
// strings and histogram bytes are new, share memory among the chunk, and may be kept.
func (d *Decoder) Keyframe(h *FrameHeader, payload []byte, k *Keyframe) error {
	if err := d.keyframe(h, payload, k); err != nil {
		return fmt.Errorf("keyframe %d: %w", h.Sequence, err)
	}
	if k.Last {
		d.next = k.NextRef
	}
	d.advance(h)
	return nil
}

func (d *Decoder) keyframe(h *FrameHeader, payload []byte, k *Keyframe) error {
	var sections [keySections][]byte
	if err := d.sections(KindKeyframe, h, payload, sections[:]); err != nil {
		return err
	}
	head := sectionReader{b: sections[keyHead]}
	k.Sequence, k.NextRef, k.Last = h.Sequence, head.uvarint(), h.Flags&FlagLast != 0
	if err := head.end("head"); err != nil {
		return err
	}
	if err := d.readSeries(h, sections[keyLabels:], &k.Series); err != nil {
		return err
	}
	if k.NextRef < d.next || k.NextRef > maxSequence {
		return fmt.Errorf("%w: next reference %d", ErrCorrupt, k.NextRef)
	}
	var err error
	if k.Metadata, err = readMetadata(sections[keyMetadata], h.Metadata, k.Metadata); err != nil {
		return err
	}
	if k.Elections, err = readElections(sections[keyElections], h, k.Elections); err != nil {
		return err
	}
	if k.Placement, err = readPlacement(sections[keyPlacement], h); err != nil {
		return err
	}
	return d.keyframeLatest(&sections, k)
}

func (d *Decoder) keyframeLatest(sections *[keySections][]byte, k *Keyframe) error {
	n := k.Series.Len()
	flags := sections[keyFlags]
	values := valuesOf(sections[keyTags : keyXORs+1])
	if len(flags) != n || len(values.tags) != (n+3)/4 {
		return fmt.Errorf("latest: %w: count", ErrCorrupt)
	}
	k.Latest = resize(k.Latest, n)
	d.latest = resize(d.latest, n)
	if !values.next(0, d.bits[len(d.bits)-n:], d.latest) {
		return fmt.Errorf("latest: %w: value", ErrCorrupt)
	}
	times, starts := sectionReader{b: sections[keyTimestamps]}, sectionReader{b: sections[keyStarts]}
	written, lengths := sectionReader{b: sections[keyWritten]}, sectionReader{b: sections[keyHistograms]}
	data := append([]byte(nil), sections[keyHistogramData]...)
	var before Latest
	for i := range k.Latest {
		l := Latest{
			Timestamp:      before.Timestamp + times.varint(),
			StartTimestamp: before.StartTimestamp + starts.varint(),
			Written:        before.Written + written.varint(),
		}
		switch {
		case flags[i] > latestHistogram || flags[i] != 0 && d.latest[i] != 0:
			return fmt.Errorf("latest: %w: flags", ErrCorrupt)
		case flags[i] == latestNone:
			l.None = true
		case flags[i] == latestHistogram:
			size := lengths.uvarint()
			if size > uint64(len(data)) {
				return fmt.Errorf("latest: %w: histogram", ErrCorrupt)
			}
			l.Histogram = data[:size:size]
			if size == 0 {
				l.Histogram = []byte{}
			}
			data = data[size:]
		default:
			l.Value = d.latest[i]
		}
		k.Latest[i], before = l, l
	}
	if len(data) != 0 || !values.done() {
		return fmt.Errorf("latest: %w: bytes left", ErrCorrupt)
	}
	for _, r := range []*sectionReader{&times, &starts, &written, &lengths} {
		if err := r.end("latest"); err != nil {
			return err
		}
	}
	return nil
}
