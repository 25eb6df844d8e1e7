package stored

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// BenchmarkSeries encodes 10,000 series of 20 samples, as they are in a window's chunks, and
// decodes them.
func BenchmarkSeries(b *testing.B) {
	var all []*samples.Series
	for i := range 10_000 {
		var c chunk.Builder
		for j := range int64(20) {
			c.Float(j*15_000, 1, float64(int64(i)*j))
		}
		ls := labels.FromStrings("__name__", "x_total", "job", fmt.Sprint("job", i%10), "instance", fmt.Sprint("instance-", i/100), "pod", fmt.Sprintf("pod-%05d", i))
		all = append(all, &samples.Series{Labels: ls, Parts: []samples.Part{{Chunks: c.Take(), To: 300_000}}})
	}
	all = samples.Merged(all)
	put := func(e *encoder) error {
		for _, s := range all {
			if err := e.series(s, false); err != nil {
				return err
			}
		}
		return nil
	}
	messages := encode(b, put)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e := newEncoder(func([]byte) error { return nil })
			require.NoError(b, put(e))
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var d Decoder
			for _, m := range messages {
				_, err := d.Response(m)
				require.NoError(b, err)
			}
		}
	})
}
