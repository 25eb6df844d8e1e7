package remotewrite

import (
	"encoding/binary"
	"fmt"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// scanV1 scans a prometheus.WriteRequest:
//
//	message WriteRequest {
//	  repeated TimeSeries timeseries = 1;
//	  repeated MetricMetadata metadata = 3;
//	}
func (r *Request) scanV1(b []byte) error {
	for i := 0; i < len(b); {
		if at, end := protoscan.Short(b, i, 0x0a); end > 0 {
			if err := r.seriesV1(b[at:end:end]); err != nil {
				return err
			}
			i, r.known = end, true
			continue
		}
		f, ok := protoscan.Read(b, i)
		if !ok {
			return errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 1 && f.Wire == protoscan.TypeBytes:
			if err := r.seriesV1(f.Bytes); err != nil {
				return err
			}
		case f.Number == 3 && f.Wire == protoscan.TypeBytes:
			if err := r.familyV1(f.Bytes); err != nil {
				return err
			}
		case f.Number == 1 || f.Number == 3:
			return errDamaged
		default:
			r.unknown = true
			continue
		}
		r.known = true
	}
	return nil
}

// seriesV1 scans a prometheus.TimeSeries:
//
//	message TimeSeries {
//	  repeated Label labels = 1;
//	  repeated Sample samples = 2;
//	  repeated Exemplar exemplars = 3;
//	  repeated Histogram histograms = 4;
//	}
func (r *Request) seriesV1(b []byte) error {
	start := r.mark()
	i := 0
	// As a rule the labels come first, and the samples end the series. Neither
	// is as long as 128 bytes.
	for i+1 < len(b) && b[i] == 0x0a && b[i+1] < 0x80 {
		i += 2 + int(b[i+1])
	}
	if i > len(b) {
		return errDamaged
	}
	labels := gather{end: i}
	for i+1 < len(b) && b[i] == 0x12 && b[i+1] < 0x80 {
		at, end := i+2, i+2+int(b[i+1])
		if end > len(b) || !r.sample(b[at:end], false) {
			return r.damaged()
		}
		i = end
	}
	for i < len(b) {
		f, ok := protoscan.Read(b, i)
		switch {
		case !ok || f.Number <= 4 && f.Wire != protoscan.TypeBytes:
			return errDamaged
		case f.Number == 1:
			labels.add(r, b, i, f.Next)
		case f.Number == 2:
			if !r.sample(f.Bytes, false) {
				return r.damaged()
			}
		case f.Number == 3:
			if full(r.Exemplars) && !grow(&r.memory, &r.Exemplars) {
				return r.memory.err
			}
			r.Exemplars = append(r.Exemplars, f.Bytes)
		case f.Number == 4:
			if full(r.Histograms) && !grow(&r.memory, &r.Histograms) {
				return r.memory.err
			}
			r.Histograms = append(r.Histograms, Histogram{Data: f.Bytes})
		}
		if err := r.checkCounts(); err != nil {
			return err
		}
		i = f.Next
	}
	if r.since(start) == 0 {
		return nil // nothing to store, so nothing to say either
	}
	if err := r.checkCounts(); err != nil {
		return err
	}
	return r.finishV1(labels.bytes(r, b), start)
}

// finishV1 checks the histograms and exemplars of a series, whose labels are known by
// now so that refusals can name it, and adds the series.
func (r *Request) finishV1(labels []byte, start mark) error {
	if r.senderLabels != nil {
		labels = r.fromWire(labels)
	}
	if len(r.Histograms)+len(r.Exemplars) > start.histograms+start.exemplars {
		s := Series{labels: labels, Meta: noMeta}
		if err := r.checkHistograms(&s, start, 0); err != nil {
			return err
		}
		if err := r.checkExemplars(&s, start, V1); err != nil {
			return err
		}
		if r.since(start) == 0 {
			return nil
		}
	}
	return r.add(hashA(labels), labels, nil, noMeta)
}

// gather collects the label fields of a series. As a rule they lie together, and are
// used where they are; otherwise they are copied to the scratch memory.
type gather struct {
	start, end int
	from       int
	copied     bool
}

func (g *gather) add(r *Request, b []byte, start, end int) {
	switch {
	case g.copied:
		r.scratch = append(r.scratch, b[start:end]...)
	case g.end == 0:
		g.start, g.end = start, end
	case g.end == start:
		g.end = end
	default:
		// Without space the request fails.
		if g.copied = r.space(len(b)); g.copied {
			g.from = len(r.scratch)
			r.scratch = append(r.scratch, b[g.start:g.end]...)
			r.scratch = append(r.scratch, b[start:end]...)
		}
	}
}

func (g *gather) bytes(r *Request, b []byte) []byte {
	if g.copied {
		return r.scratch[g.from:len(r.scratch):len(r.scratch)]
	}
	return b[g.start:g.end:g.end]
}

// sample adds a sample, and says whether it is well-formed and there was memory for it.
// One more than the limit is kept, by which checkCounts sees that there are too many.
func (r *Request) sample(b []byte, withStart bool) bool {
	s, ok := scanSample(b, withStart)
	if len(r.Samples) <= r.limits.Samples {
		if full(r.Samples) && !grow(&r.memory, &r.Samples) {
			return false
		}
		r.Samples = r.Samples[:len(r.Samples)+1]
		r.Samples[len(r.Samples)-1] = s
	}
	return ok
}

// scanSample reads
//
//	message Sample {
//	  double value = 1;
//	  int64 timestamp = 2;
//	  int64 start_timestamp = 3; // since 2.0
//	}
func scanSample(b []byte, withStart bool) (s Sample, ok bool) {
	if len(b) > 10 && b[0] == 0x09 && b[9] == 0x10 {
		// As encoders write it.
		if v, n := protoscan.Varint(b, 10); n == len(b) {
			return Sample{Timestamp: int64(v), Value: binary.LittleEndian.Uint64(b[1:])}, true
		}
	}
	for i := 0; i < len(b); {
		switch {
		case b[i] == 0x09 && len(b)-i >= 9:
			s.Value = binary.LittleEndian.Uint64(b[i+1:])
			i += 9
		case b[i] == 0x10:
			v, n := protoscan.Varint(b, i+1)
			if n == 0 {
				return s, false
			}
			s.Timestamp, i = int64(v), n
		default:
			f, ok := protoscan.Read(b, i)
			switch {
			case !ok:
				return s, false
			case f.Number == 1 && f.Wire == protoscan.TypeFixed64:
				s.Value = f.Value
			case f.Number == 2 && f.Wire == protoscan.TypeVarint:
				s.Timestamp = int64(f.Value)
			case f.Number == 3 && withStart && f.Wire == protoscan.TypeVarint:
				s.StartTimestamp = int64(f.Value)
			case f.Number <= 2 || f.Number == 3 && withStart:
				return s, false
			}
			i = f.Next
		}
	}
	return s, true
}

// familyV1 scans a prometheus.MetricMetadata:
//
//	message MetricMetadata {
//	  MetricType type = 1;
//	  string metric_family_name = 2;
//	  string help = 4;
//	  string unit = 5;
//	}
func (r *Request) familyV1(b []byte) error {
	var m Metadata
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 1 && f.Wire == protoscan.TypeVarint:
			m.Type = int32(f.Value)
		case f.Number == 2 && f.Wire == protoscan.TypeBytes:
			m.Family = f.Bytes
		case f.Number == 4 && f.Wire == protoscan.TypeBytes:
			m.Help = f.Bytes
		case f.Number == 5 && f.Wire == protoscan.TypeBytes:
			m.Unit = f.Bytes
		case f.Number == 1 || f.Number == 2 || f.Number == 4 || f.Number == 5:
			return errDamaged
		}
	}
	if len(m.Family) == 0 {
		return nil
	}
	if r.families++; r.families > r.limits.Series {
		return fmt.Errorf("%w: %w", ErrTooLarge, limit.Over(flagSeries, "more than %d metadata entries", r.limits.Series))
	}
	if err := r.fit(&m); err != nil {
		r.RefuseMetadata(m.Family, err)
		return nil
	}
	m.Hash = MetadataHash(m.Type, hashA(m.Help), hashA(m.Unit))
	if full(r.Families) && !grow(&r.memory, &r.Families) {
		return r.memory.err
	}
	r.Families = append(r.Families, m)
	return nil
}
