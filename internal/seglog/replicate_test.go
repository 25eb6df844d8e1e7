package seglog

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// BenchmarkReplicate reads the bytes of blocks of 2000 samples from a log's
// files, and writes them to a mirror's, which checks and decodes them.
func BenchmarkReplicate(b *testing.B) {
	const size, known = 2000, 20_000
	o := testOptions(nil)
	o.Sync = SyncNever
	from, to := mustStore(b, b.TempDir(), o), mustStore(b, b.TempDir(), o)
	w, err := from.OpenWriter(&wide{n: known})
	require.NoError(b, err)
	defer w.Close()
	r, err := to.OpenMirror(w.Log().ID(), &wide{})
	require.NoError(b, err)
	defer r.Close()
	raw, err := w.Log().ReadRaw(b.Context(), 0)
	require.NoError(b, err)
	defer raw.Close()
	x := &segment.Block{}
	copied := 0
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		x.Samples.Reset()
		for i := range size {
			ref := (n*size+i)%known + 1
			x.Samples.Add(segment.Sample{Ref: uint64(ref), Timestamp: 1e12 + int64(n/(known/size)+1)*15000, Value: float64(ref*3 + n%9)})
		}
		_, err := w.Append(x)
		require.NoError(b, err)
		require.NoError(b, w.WaitDurable(x.Sequence))
		b.StartTimer()
		for r.Log().Last() < x.Sequence {
			c, err := raw.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			if c.Start {
				if err := r.StartSegment(c.SegmentName, c.FirstSequence); err != nil {
					b.Fatal(err)
				}
			}
			if err := r.Append(c.Offset, c.Data); err != nil {
				b.Fatal(err)
			}
			copied += len(c.Data)
		}
	}
	b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
	b.ReportMetric(float64(copied)/(size*float64(b.N)), "B/sample")
}
