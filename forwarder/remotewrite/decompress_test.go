package remotewrite

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
)

// FuzzDecompress sees that what is a snappy block to Prometheus is decompressed
// to the same bytes here. A length of more than five bytes is left out: no
// encoder writes it, for the format ends at 32 bits, and it is refused here.
func FuzzDecompress(f *testing.F) {
	f.Add(snappy.Encode(nil, steadyV1(20, 0)))
	f.Add([]byte("\x05\x00a\x0d\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, n := binary.Uvarint(body); n > 5 {
			return
		}
		if n, err := snappy.DecodedLen(body); err != nil || n > 1<<20 {
			return
		}
		want, err := snappy.Decode(nil, body)
		if err != nil {
			return
		}
		got, err := s2.Decode(nil, body)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v, %d bytes of %d", err, len(got), len(want))
		}
	})
}

// BenchmarkDecompress is the part of decoding that no scanner can save.
func BenchmarkDecompress(b *testing.B) {
	raw := steadyV1(2000, 0)
	body := snappy.Encode(nil, raw)
	buf := make([]byte, len(raw))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s2.Decode(buf, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}
