package output

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, new(time.UnixMilli(t0-90_000)))
	start := time.UnixMilli(t0)
	now := start
	p.now = func() time.Time { return now }
	p.start, p.updated = start, start.Add(progressAfter-progressEvery)
	r := []*metricsv1.TimeSeries{float(1, "__name__", "up")}
	p.Update(r)
	require.Empty(t, b.String(), "silent at first")
	now = start.Add(10 * time.Second)
	p.Update(r)
	p.Update(r)
	require.Equal(t, "\r2 samples, 0 a second, up to 2023-11-14T22:13:20Z, 90 %\x1b[K", b.String())
	p.Update([]*metricsv1.TimeSeries{{Histograms: []*metricsv1.Histogram{{Timestamp: t0 + 10_000}}}})
	require.Contains(t, p.line(now), "up to 2023-11-14T22:13:30Z, 100 %")
	p.Clear()
	require.True(t, strings.HasSuffix(b.String(), "\r\x1b[K"))
	_, err := p.Write([]byte("after it\n"))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(b.String(), "\r\x1b[Kafter it\n"))
}

// TestProgressAtTheEpoch has a sample at 0, which is a time like any other.
func TestProgressAtTheEpoch(t *testing.T) {
	now := time.UnixMilli(1000)
	p := NewProgress(io.Discard, new(time.Time{}))
	p.start, p.now = time.UnixMilli(0), func() time.Time { return now }
	require.NotContains(t, p.line(now), "up to")
	s := float(1, "__name__", "up")
	s.Samples[0].Timestamp = 0
	p.Update([]*metricsv1.TimeSeries{s})
	require.Contains(t, p.line(now), "up to 1970-01-01T00:00:00Z, 100 %")
}
