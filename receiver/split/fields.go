package split

import (
	"math"

	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// fields are the numbers of the fields of a series that have a timestamp.
type fields struct{ samples, histograms, exemplars int32 }

var (
	fieldsV1 = fields{samples: 2, exemplars: 3, histograms: 4}
	fieldsV2 = fields{samples: 2, histograms: 3, exemplars: 4}
)

// The fields of messages that have the timestamp.
const (
	timeOfSample    = 2
	timeOfExemplar  = 3
	timeOfHistogram = 15
)

// timeField returns which field of a field of a series is its timestamp, 0 if it has none.
func (f *fields) timeField(number int32) int32 {
	switch number {
	case f.samples:
		return timeOfSample
	case f.exemplars:
		return timeOfExemplar
	case f.histograms:
		return timeOfHistogram
	}
	return 0
}

// epochs returns the epochs of the oldest and the newest timestamp of a series, and the
// last for one without any.
func (f *fields) epochs(p *placement.Placement, series []byte) (first, last int, err error) {
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	for i := 0; i < len(series); {
		if _, end := protoscan.Short(series, i, 0x0a); end > 0 { // Labels are field 1 of both schemas.
			i = end
			continue
		}
		if at, end := protoscan.Short(series, i, 0x12); end > 0 { // Samples are field 2.
			ms, ok := sampleTime(series[at:end:end])
			if !ok {
				return 0, 0, ErrDamaged
			}
			oldest, newest, i = min(oldest, ms), max(newest, ms), end
			continue
		}
		field, ok := protoscan.Read(series, i)
		if !ok {
			return 0, 0, ErrDamaged
		}
		i = field.Next
		number := f.timeField(field.Number)
		if number == 0 {
			continue
		}
		ms, ok := timeOf(field, number)
		if !ok {
			return 0, 0, ErrDamaged
		}
		oldest, newest = min(oldest, ms), max(newest, ms)
	}
	if oldest > newest {
		return p.LastEpoch(), p.LastEpoch(), nil
	}
	return p.EpochAt(oldest), p.EpochAt(newest), nil
}

// has says whether a series has anything that its timestamp gives to a group.
func (f *fields) has(p *placement.Placement, series []byte, k placement.Key, group int) (has bool) {
	each(series, func(field protoscan.Field, _ []byte) {
		if number := f.timeField(field.Number); number > 0 && !has {
			ms, _ := timeOf(field, number)
			has = p.Index(k, ms) == group
		}
	})
	return has
}

// sampleTime returns the timestamp of a sample.
func sampleTime(b []byte) (ms int64, ok bool) {
	if len(b) > 10 && b[0] == 0x09 && b[9] == 0x10 { // As encoders write it.
		if v, n := protoscan.Varint(b, 10); n == len(b) {
			return int64(v), true
		}
	}
	return scanTime(b, timeOfSample)
}

// timeOf returns the timestamp of a field of a series.
func timeOf(field protoscan.Field, number int32) (ms int64, ok bool) {
	if field.Wire != protoscan.TypeBytes {
		return 0, false
	}
	return scanTime(field.Bytes, number)
}

func scanTime(b []byte, number int32) (ms int64, ok bool) {
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok || f.Number == number && f.Wire != protoscan.TypeVarint {
			return 0, false
		}
		if i = f.Next; f.Number == number {
			ms = int64(f.Value)
		}
	}
	return ms, true
}
