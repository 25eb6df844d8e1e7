package remotewrite

import (
	"errors"
	"math"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func sampleOf(t int64, v float64, start int64) Sample { return Sample{t, math.Float64bits(v), start} }

// wide are limits that do not get in the way.
var wide = limitsWith(func(l *Limits) {
	l.DecodedBytes, l.HistogramBytes, l.Series, l.Samples = 1<<30, 1<<30, 1<<30, 1<<30
	l.Labels, l.NameBytes, l.ValueBytes, l.LabelsBytes, l.Buckets = 1<<20, 1<<30, 1<<30, 1<<30, 1<<20
})

func FuzzV1(f *testing.F) {
	for _, req := range examplesV1() {
		b, err := req.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x0a\x08\x0a\x02\x0a\x00\x12\x02\x10\x05"))
	f.Add([]byte("\x0a\x0a\x13\x08\x01\x14\x0a\x00\x12\x02\x10\x05")) // with a group
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewRequest(wide)
		err := r.scan(V1, data)
		var ref prompb.WriteRequest
		if ref.Unmarshal(data) != nil {
			if err == nil {
				decodedContent(t, r, false)
			}
			return
		}
		ref.XXX_unrecognized = nil
		for _, ts := range ref.Timeseries {
			for i := range ts.Histograms {
				ts.Histograms[i].XXX_unrecognized = nil // perhaps a start timestamp
			}
		}
		want := contentV1(&ref)
		if err == nil {
			compare(t, "as sent", withoutStart(want), decodedContent(t, r, false))
		}
		again, err := ref.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ref.Reset() // a value of -0 is left out when Prometheus marshals it
		if err := ref.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		if err := decode(r, V1, again); err != nil {
			t.Fatalf("marshalled again: %v", err)
		}
		compare(t, "marshalled again", contentV1(&ref), decodedContent(t, r, true))
		setTenant(t, r)
		if err := decode(r, V1, again); err != nil {
			t.Fatalf("of a tenant: %v", err)
		}
		ownV1(&ref)
		compare(t, "of a tenant", contentV1(&ref), decodedContent(t, r, true))
		compareSenders(t, V1, again)
	})
}

func FuzzV2(f *testing.F) {
	for _, req := range examplesV2() {
		b, err := req.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewRequest(wide)
		err := r.scan(V2, data)
		var ref writev2.Request
		if ref.Unmarshal(data) != nil {
			if err == nil {
				decodedContent(t, r, false)
			}
			return
		}
		ref.XXX_unrecognized = nil
		for i := range ref.Timeseries {
			ref.Timeseries[i].XXX_unrecognized = nil // perhaps a created timestamp
		}
		want := contentV2(&ref)
		if err == nil {
			compare(t, "as sent", withoutStart(want), decodedContent(t, r, false))
		}
		if len(ref.Symbols) > 0 && ref.Symbols[0] != "" {
			if err == nil {
				t.Fatal("symbols[0] is not empty, and that was accepted")
			}
			return
		}
		again, err := ref.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ref.Reset() // a value of -0 is left out when Prometheus marshals it
		if err := ref.Unmarshal(again); err != nil {
			t.Fatal(err)
		}
		if err := decode(r, V2, again); err != nil {
			t.Fatalf("marshalled again: %v", err)
		}
		compare(t, "marshalled again", contentV2(&ref), decodedContent(t, r, true))
		setTenant(t, r)
		if err := decode(r, V2, again); err != nil {
			t.Fatalf("of a tenant: %v", err)
		}
		ownV2(&ref)
		compare(t, "of a tenant", contentV2(&ref), decodedContent(t, r, true))
		compareSenders(t, V2, again)
	})
}

func decode(r *Request, schema Schema, body []byte) error {
	return r.Decode(schema, snappy.Encode(nil, body))
}

// FuzzDecode looks for panics, and for memory beyond the limits.
func FuzzDecode(f *testing.F) {
	for _, req := range examplesV1() {
		b, _ := req.Marshal()
		f.Add(true, snappy.Encode(nil, b))
	}
	for _, req := range examplesV2() {
		b, _ := req.Marshal()
		f.Add(false, snappy.Encode(nil, b))
	}
	f.Add(true, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0})
	limits := limitsWith(func(l *Limits) {
		l.DecodedBytes, l.Series, l.Samples, l.Labels, l.NameBytes, l.ValueBytes, l.Buckets = 1<<16, 10, 20, 5, 20, 50, 10
	})
	r := NewRequest(limits)
	f.Fuzz(func(t *testing.T, v1 bool, body []byte) {
		schema := V2
		if v1 {
			schema = V1
		}
		_ = r.SetTenant(nil)
		if len(body)%2 == 0 {
			setTenant(t, r)
		}
		r.NameSenders(nil)
		if len(body)%3 == 0 {
			r.NameSenders(senderLabels)
		}
		err := r.Decode(schema, body)
		if len(r.Series) > limits.Series || len(r.Samples) > limits.Samples+1 || len(r.Families) > limits.Series {
			t.Errorf("%d series, %d samples, %d families", len(r.Series), len(r.Samples), len(r.Families))
		}
		if err != nil {
			if errors.Is(err, ErrTooLarge) && err.Error() == "" {
				t.Error("no reason")
			}
			return
		}
		decodedContent(t, r, true)
	})
}
