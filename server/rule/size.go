package rule

import "github.com/prometheus/prometheus/model/labels"

// About what states take in memory, besides their texts.
const (
	alertBytes  = 256
	sampleBytes = 128
	labelBytes  = 8
	bucketBytes = 8
)

func sizeOf(ls labels.Labels) (n int64) {
	ls.Range(func(l labels.Label) { n += labelBytes + int64(len(l.Name)+len(l.Value)) })
	return n
}

func (a *alert) bytes() int64 { return alertBytes + sizeOf(a.labels) + sizeOf(a.annotations) }

func (s *sample) bytes() int64 {
	n := sampleBytes + sizeOf(s.labels)
	if h := s.histogram; h != nil {
		n += sampleBytes + bucketBytes*int64(len(h.PositiveBuckets)+len(h.NegativeBuckets)+len(h.CustomValues)+len(h.PositiveSpans)+len(h.NegativeSpans))
	}
	return n
}

// bytes is about what the state takes in memory.
func (s *state) bytes() (n int64) {
	for i := range s.groups {
		for j := range s.groups[i].rules {
			r := &s.groups[i].rules[j]
			n += sampleBytes
			for _, a := range r.alerts {
				n += a.bytes()
			}
			for k := range r.series {
				n += r.series[k].bytes()
			}
		}
	}
	return n
}
