package remotewrite

import (
	"testing"

	"github.com/golang/snappy"

	"github.com/promgrpc/exporter/internal/snappyblock"
)

// BenchmarkDecompress is the part of decoding that no scanner can save.
func BenchmarkDecompress(b *testing.B) {
	raw := steadyV1(2000, 0)
	body := snappy.Encode(nil, raw)
	buf := make([]byte, len(raw))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := snappyblock.Decode(buf, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}
