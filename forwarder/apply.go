package forwarder

import (
	"errors"
	"fmt"
	"math"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// tally counts what became of the parts of a request.
type tally struct {
	samples, histograms, exemplars int
	repeats, series                int
}

// apply appends a request to the log, and returns what to answer once the block of the
// answer's sequence is durable. After an error the state must not be used any more,
// unless that is ErrTooLarge of package remotewrite: then it is as it was before.
func (s *state) apply(req *remotewrite.Request, d digest, now time.Time) (answer, tally, error) {
	b := &s.block
	s.setTime(now)
	t := s.build(req)
	b.Elections = s.pairs.due(req.Store)
	b.Digest, b.Verdict = d, s.verdict(req, &t)
	if s.blockIsEmpty() {
		// What it repeats may not be durable yet.
		a := answer{s.end(), b.Verdict}
		s.window.add(d, a)
		return a, t, nil
	}
	err := s.write()
	switch {
	case errors.Is(err, segment.ErrTooLarge) && !errors.Is(err, seglog.ErrBroken):
		// A request that was accepted has room, so this is a bug. The block was not
		// written, and one sender must not stop the others.
		clear(s.lastExemplars) // The latest may be those of what was not written.
		s.recall()
		s.pairs.opened(now, s)
		return answer{}, t, fmt.Errorf("%w: %w: %w", remotewrite.ErrTooLarge, req.NoRoom(), err)
	case err != nil:
		return answer{}, t, err
	}
	s.written = s.time
	a := answer{s.end(), b.Verdict}
	s.window.add(d, a)
	return a, t, nil
}

// setTime gives the block its time, which never goes back within a log: by it everybody
// says what had arrived when. So a clock that was set back stands still.
func (s *state) setTime(now time.Time) {
	s.time = max(s.time, now.UnixMilli())
	s.block.Time = s.time
}

// write appends the block.
func (s *state) write() error {
	sequence, err := s.writer.Append(&s.block)
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	s.block.Sequence = sequence
	if err := s.head.ApplyBlock(&s.block); err != nil {
		return err
	}
	if invariant.On {
		invariant.Check(sequence == s.last+1, "block %d after block %d", sequence, s.last)
		invariant.Check(s.nextRef == s.head.NextRef(), "the next reference is %d, in the head %d", s.nextRef, s.head.NextRef())
	}
	s.last = sequence
	return nil
}

// verdict says what is stored of a request. It is final under any limits if a part was
// dropped as a repeat of another request's: the log does not say which part.
func (s *state) verdict(req *remotewrite.Request, t *tally) segment.Verdict {
	v := segment.Verdict{
		Samples:    uint32(t.samples),
		Histograms: uint32(t.histograms),
		Exemplars:  uint32(t.exemplars),
		Rejected:   uint32(req.Problems.Rejected),
		Code:       uint8(linkv1.Code_CODE_OK),
		Errors:     req.Problems.Errors(),
	}
	if req.Problems.Count > 0 {
		v.Code = uint8(linkv1.Code_CODE_INVALID)
	}
	if req.Problems.Limited && t.repeats == 0 {
		v.Limits = s.limits
	}
	if s.earlier != nil {
		s.earlier.addTo(&v)
		return v
	}
	// Who is not elected is told that it was written. Of a request that comes again it was.
	v.Samples += uint32(req.Dropped.Samples)
	v.Histograms += uint32(req.Dropped.Histograms)
	v.Exemplars += uint32(req.Dropped.Exemplars)
	return v
}

func (s *state) blockIsEmpty() bool {
	b := &s.block
	return b.Series.Len()+b.Samples.Len()+len(b.Histograms)+len(b.Exemplars)+len(b.Metadata)+len(b.Elections) == 0
}

// build fills the block from a request.
func (s *state) build(req *remotewrite.Request) tally {
	s.resetBlock()
	s.families.request++
	s.intern.reset()
	s.prefetch.reset()
	var t tally
	var from remotewrite.Series
	for i := range req.Series {
		series := &req.Series[i]
		e, ok := s.intern.guess(series.Hash)
		if !ok {
			e, ok = s.find(req, i)
		}
		if !ok {
			n := series.SamplesEnd - from.SamplesEnd + series.HistogramsEnd - from.HistogramsEnd + series.ExemplarsEnd - from.ExemplarsEnd
			req.Problems.Rejected += int(n)
			from = *series
			continue
		}
		samples := req.Samples[from.SamplesEnd:series.SamplesEnd]
		if series.HistogramsEnd > from.HistogramsEnd {
			samples = s.histograms(e, req.Histograms[from.HistogramsEnd:series.HistogramsEnd], samples, &t)
		}
		s.samples(e, samples, &t)
		s.exemplars(e, req.Exemplars[from.ExemplarsEnd:series.ExemplarsEnd], &t)
		if series.Meta >= 0 {
			s.seriesMetadata(req, series, series.HistogramsEnd > from.HistogramsEnd, e)
		}
		from.SamplesEnd, from.HistogramsEnd, from.ExemplarsEnd = series.SamplesEnd, series.HistogramsEnd, series.ExemplarsEnd
	}
	for i := range req.Families {
		s.metadata(req, req.Families[i].Family, &req.Families[i])
	}
	t.series = s.block.Series.Len()
	return t
}

func (s *state) resetBlock() {
	b := &s.block
	b.Series.Reset()
	s.inBlock = s.inBlock[:0]
	clear(b.Histograms)
	clear(b.Exemplars)
	b.Histograms, b.Exemplars, b.Metadata, b.Elections = b.Histograms[:0], b.Exemplars[:0], b.Metadata[:0], nil
	b.Placement = segment.Placement{}
	b.Samples.Reset()
}

func (s *state) samples(e *entry, samples []remotewrite.Sample, t *tally) {
	for i := range samples {
		sample := &samples[i]
		if s.earlier != nil && s.earlier.has(part{e.ref, sample.Timestamp, sample.Value, floatPart}) {
			continue
		}
		t.samples++
		if e.repeats(said{sample.Timestamp, sample.StartTimestamp, sample.Value, formFloat}, s.block.Time) {
			t.repeats++
			continue
		}
		s.block.Samples.Add(segment.Sample{
			Ref: e.ref, Timestamp: sample.Timestamp, StartTimestamp: sample.StartTimestamp, Value: math.Float64frombits(sample.Value),
		})
	}
}

// histograms adds the histograms of a series to the block, and the samples before the
// last of them; it returns the samples after that. A request has two lists, so their
// order is by timestamps: each list keeps its own, and a sample comes before a histogram
// that is not older.
func (s *state) histograms(e *entry, histograms []remotewrite.Histogram, samples []remotewrite.Sample, t *tally) []remotewrite.Sample {
	for i := range histograms {
		h := &histograms[i]
		before := 0
		for before < len(samples) && samples[before].Timestamp <= h.Timestamp {
			before++
		}
		s.samples(e, samples[:before], t)
		samples = samples[before:]
		if s.earlier != nil && s.earlier.has(part{e.ref, h.Timestamp, remotewrite.HashBytes(h.Data), histogramPart}) {
			continue
		}
		t.histograms++
		if e.repeats(saidBy(h.Timestamp, h.Identity), s.block.Time) {
			t.repeats++
			continue
		}
		s.block.AddHistogram(e.ref, h.Timestamp, h.Data)
	}
	return samples
}

func (s *state) exemplars(e *entry, exemplars [][]byte, t *tally) {
	for _, data := range exemplars {
		hash := remotewrite.HashBytes(data)
		if s.earlier != nil && s.earlier.has(part{e.ref, 0, hash, exemplarPart}) {
			continue
		}
		t.exemplars++
		if latest, known := s.lastExemplars[e.ref]; known && latest == hash {
			t.repeats++
			continue
		}
		s.lastExemplars[e.ref] = hash
		s.block.Exemplars = append(s.block.Exemplars, segment.Exemplar{Ref: e.ref, Data: data})
	}
}

// find looks a series up by its key, and learns it if it is unknown.
func (s *state) find(req *remotewrite.Request, i int) (*entry, bool) {
	spelt := s.prefetch.key(req, i, &s.intern.slots)
	if e, ok := s.intern.find(spelt); ok {
		return e, true
	}
	return s.learn(req, &req.Series[i], spelt)
}

// learn finds the series of an unknown key: a new one, or another spelling of one that
// is known.
func (s *state) learn(req *remotewrite.Request, series *remotewrite.Series, spelt remotewrite.Key) (*entry, bool) {
	labels, err := req.Labels(series, spelt)
	if err != nil {
		req.Refuse(0, series, err)
		return nil, false
	}
	slot := uint32(0)
	if labels.Key != spelt {
		slot = s.intern.slots.get(labels.Key)
	}
	if slot == 0 {
		if there := s.head.Len() + s.block.Series.Len(); s.maxSeries > 0 && there >= s.maxSeries {
			req.Refuse(0, series, limit.Over(flagMaxSeries, "a new series, and there are %d, the limit is %d", there, s.maxSeries))
			return nil, false
		}
		if err := req.Store(s.bytesOf(req, labels.Indexes)); err != nil {
			req.Refuse(0, series, err)
			return nil, false
		}
		slot = s.intern.add(labels.Key, entry{ref: s.nextRef})
		s.introduce(req, labels.Indexes)
	}
	if labels.Key != spelt {
		s.intern.spell(spelt, slot)
	}
	return s.intern.follow(slot, spelt), true
}

// bytesOf is what a new series would take in the block, with its labels that are not in
// it yet.
func (s *state) bytesOf(req *remotewrite.Request, labels []uint32) int {
	n := segment.SeriesBound + segment.IndexBound*len(labels)
	for _, label := range labels {
		if int(label) >= len(s.inBlock) || s.inBlock[label] == notInBlock {
			l := req.Label(label)
			n += segment.LabelBound + len(l.Name) + len(l.Value)
		}
	}
	return n
}

// notInBlock is the index of a label that no series of the block has yet.
const notInBlock = -1

// introduce puts a new series into the block, by the indexes of its labels in the
// request's dictionary.
func (s *state) introduce(req *remotewrite.Request, labels []uint32) {
	t := &s.block.Series
	s.row = s.row[:0]
	for _, label := range labels {
		for int(label) >= len(s.inBlock) {
			s.inBlock = append(s.inBlock, notInBlock)
		}
		if s.inBlock[label] == notInBlock {
			s.inBlock[label] = int32(len(t.Labels))
			t.Labels = append(t.Labels, req.Label(label))
		}
		s.row = append(s.row, uint32(s.inBlock[label]))
	}
	t.Add(s.nextRef, s.row...)
	s.nextRef++
}

// seriesMetadata adds what a series says of its family, unless it said the same
// before.
func (s *state) seriesMetadata(req *remotewrite.Request, series *remotewrite.Series, native bool, e *entry) {
	m := &req.Meta[series.Meta]
	if hash := uint32(m.Hash); hash != e.meta && s.metadata(req, familyOf(req, series, m.Type, native), m) {
		e.meta = hash
	}
}

// metadata adds what is said of a family, and reports whether it was not refused.
func (s *state) metadata(req *remotewrite.Request, family []byte, m *remotewrite.Metadata) bool {
	err := s.families.add(family, m, &s.block, func(bytes int) error {
		if err := req.Spend(bytes); err != nil {
			return err
		}
		return req.Store(segment.EntryBound + bytes)
	})
	if err != nil {
		req.RefuseMetadata(family, err)
	}
	return err == nil
}
