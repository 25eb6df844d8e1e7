package output

import (
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// jsonOutput prints one object a line, one for each sample. Values are strings
// and histograms objects, as in Prometheus' HTTP API; timestamps are
// milliseconds. Events are objects too, if asked for.
type jsonOutput struct {
	lines
	events bool
}

func (j *jsonOutput) Series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		b := append(j.line[:0], `{"metric":`...)
		prefix := appendJSONLabels(b, s.GetLabels())
		coalesced := s.GetCoalesced()
		write := func(b []byte) error {
			if coalesced > 0 {
				b = append(b, `,"coalesced":`...)
				b = strconv.AppendUint(b, coalesced, 10)
				coalesced = 0
			}
			b = append(b, "}\n"...)
			j.line = b[:0]
			_, err := j.b.Write(b)
			return err
		}
		for _, sample := range s.GetSamples() {
			b := appendJSONTime(prefix, "timestamp", sample.GetTimestamp())
			b = append(b, `,"value":"`...)
			b = append(appendAPIValue(b, sample.GetValue()), '"')
			if value.IsStaleNaN(sample.GetValue()) {
				b = append(b, `,"stale":true`...)
			}
			if start := sample.GetStartTimestamp(); start != 0 {
				b = appendJSONTime(b, "start_timestamp", start)
			}
			if err := write(b); err != nil {
				return err
			}
		}
		for _, h := range s.GetHistograms() {
			b := appendJSONTime(prefix, "timestamp", h.GetTimestamp())
			b = appendJSONHistogram(b, h)
			if start := h.GetStartTimestamp(); start != 0 {
				b = appendJSONTime(b, "start_timestamp", start)
			}
			if err := write(b); err != nil {
				return err
			}
		}
		for _, e := range s.GetExemplars() {
			b := append(prefix, `,"exemplar":{"labels":`...)
			b = appendJSONLabels(b, e.GetLabels())
			b = append(b, `,"value":"`...)
			b = append(appendAPIValue(b, e.GetValue()), '"')
			if t := e.GetTimestamp(); t != 0 {
				b = appendJSONTime(b, "timestamp", t)
			}
			if err := write(append(b, '}')); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *jsonOutput) Event(e Event) error {
	if !j.events {
		return nil
	}
	b := j.line[:0]
	if e.Rewound {
		b = append(b, `{"event":"rewound"}`+"\n"...)
	}
	kind := e.Kind
	if kind == "" && e.Steps != nil {
		kind = "evaluated"
	}
	if kind != "" {
		b = appendJSONString(append(b, `{"event":`...), kind)
		b = appendJSONGap(b, e.Gap)
		b = appendJSONAway(b, e.Away)
		b = appendJSONSteps(b, e.Steps)
		if e.Cursor != "" {
			b = appendJSONString(append(b, `,"cursor":`...), e.Cursor)
		}
		b = append(b, "}\n"...)
	}
	j.line = b[:0]
	_, err := j.b.Write(b)
	return err
}

func appendJSONGap(b []byte, gap *metricsv1.Gap) []byte {
	if gap == nil {
		return b
	}
	b = appendJSONString(append(b, `,"log_id":`...), gap.GetLogId())
	b = strconv.AppendUint(append(b, `,"after_sequence":`...), gap.GetAfterSequence(), 10)
	b = strconv.AppendUint(append(b, `,"next_sequence":`...), gap.GetNextSequence(), 10)
	return appendJSONString(append(b, `,"reason":`...), gap.GetReason())
}

func appendJSONAway(b []byte, away *metricsv1.Away) []byte {
	if away == nil {
		return b
	}
	b = append(b, `,"groups":[`...)
	for i, group := range away.GetGroups() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, group)
	}
	return append(b, ']')
}

func appendJSONSteps(b []byte, s *Steps) []byte {
	if s == nil {
		return b
	}
	if s.Evaluated != 0 {
		b = appendJSONTime(b, "evaluated", s.Evaluated)
	}
	if s.Late != 0 {
		b = strconv.AppendUint(append(b, `,"late_samples":`...), s.Late, 10)
	}
	for i, a := range s.Annotations {
		if i == 0 {
			b = append(b, `,"annotations":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendJSONString(append(b, `{"severity":`...), Severity(a.GetSeverity()))
		b = append(appendJSONString(append(b, `,"text":`...), a.GetText()), '}')
		if i == len(s.Annotations)-1 {
			b = append(b, ']')
		}
	}
	return b
}

func appendJSONLabels(b []byte, labels []*metricsv1.Label) []byte {
	b = append(b, '{')
	for i, l := range labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, l.GetName())
		b = append(b, ':')
		b = appendJSONString(b, l.GetValue())
	}
	return append(b, '}')
}

func appendJSONTime(b []byte, key string, t int64) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return strconv.AppendInt(b, t, 10)
}

// appendJSONHistogram appends a histogram as the HTTP API writes it: buckets are
// [rule, lower, upper, count], where the rule says which bounds belong to the
// bucket (0 upper, 1 lower, 2 none, 3 both).
func appendJSONHistogram(b []byte, h *metricsv1.Histogram) []byte {
	if isStale(h) {
		return append(b, `,"value":"`+staleToken+`","stale":true`...)
	}
	f, err := floatHistogram(h)
	if err != nil {
		b = append(b, `,"histogram":null,"error":`...)
		return appendJSONString(b, err.Error())
	}
	b = append(b, `,"histogram":{"count":"`...)
	b = appendAPIValue(b, f.Count)
	b = append(b, `","sum":"`...)
	b = append(appendAPIValue(b, f.Sum), '"')
	first := true
	for it := f.AllBucketIterator(); it.Next(); {
		bucket := it.At()
		if bucket.Count == 0 {
			continue
		}
		if first {
			b = append(b, `,"buckets":[[`...)
		} else {
			b = append(b, ",["...)
		}
		first = false
		b = append(b, bucketRule(bucket), ',', '"')
		b = appendAPIValue(b, bucket.Lower)
		b = append(b, `","`...)
		b = appendAPIValue(b, bucket.Upper)
		b = append(b, `","`...)
		b = append(appendAPIValue(b, bucket.Count), `"]`...)
	}
	if !first {
		b = append(b, ']')
	}
	return append(b, '}')
}

func bucketRule(b histogram.Bucket[float64]) byte {
	switch {
	case b.LowerInclusive && b.UpperInclusive:
		return '3'
	case b.LowerInclusive:
		return '1'
	case b.UpperInclusive:
		return '0'
	}
	return '2'
}
