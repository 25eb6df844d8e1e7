package remotewrite

import (
	"math"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Newest is the latest timestamp of the samples and histograms, in ms, and ok is
// false if there are none.
func (r *Request) Newest() (newest int64, ok bool) {
	if len(r.Samples)+len(r.Histograms) == 0 {
		return 0, false
	}
	newest = math.MinInt64
	for i := range r.Samples {
		newest = max(newest, r.Samples[i].Timestamp)
	}
	for i := range r.Histograms {
		newest = max(newest, r.Histograms[i].Timestamp)
	}
	return newest, true
}

// DropAfter removes the samples and histograms that are later than an instant, each
// with the problem that reason returns, which is called while reasons are kept; and the
// series of which nothing else is left, with their exemplars. Senders are not known any
// more.
func (r *Request) DropAfter(instant int64, reason func(timestamp int64) error) {
	series, samples, histograms, exemplars := r.Series[:0], r.Samples[:0], r.Histograms[:0], r.Exemplars[:0]
	var from Series
	var why error
	late := func(s *Series, timestamp int64) {
		if why == nil || !r.Problems.full() {
			why = reason(timestamp)
		}
		r.Refuse(1, s, why)
	}
	for _, s := range r.Series {
		end := s // before the ends are moved
		start := mark{len(samples), len(histograms), len(exemplars)}
		for _, sample := range r.Samples[from.SamplesEnd:end.SamplesEnd] {
			if sample.Timestamp > instant {
				late(&s, sample.Timestamp)
				continue
			}
			samples = append(samples, sample)
		}
		for _, h := range r.Histograms[from.HistogramsEnd:end.HistogramsEnd] {
			if h.Timestamp > instant {
				late(&s, h.Timestamp)
				continue
			}
			histograms = append(histograms, h)
		}
		had := end.SamplesEnd+end.HistogramsEnd > from.SamplesEnd+from.HistogramsEnd
		if had && len(samples) == start.samples && len(histograms) == start.histograms {
			r.Problems.Rejected += int(end.ExemplarsEnd - from.ExemplarsEnd)
			from = end
			continue
		}
		exemplars = append(exemplars, r.Exemplars[from.ExemplarsEnd:end.ExemplarsEnd]...)
		s.SamplesEnd, s.HistogramsEnd, s.ExemplarsEnd = uint32(len(samples)), uint32(len(histograms)), uint32(len(exemplars))
		series = append(series, s)
		from = end
	}
	r.Series, r.Samples, r.Histograms, r.Exemplars = series, samples, histograms, exemplars
	r.Senders = r.Senders[:0]
	if invariant.On {
		r.checkColumns()
	}
}
