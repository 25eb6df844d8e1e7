package promql

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/selection"
)

var viewer = selection.Viewer{Peer: "peer"}

func TestInstant(t *testing.T) {
	dir := t.TempDir()
	w := newLogWriter(t, dir, 1000)
	b := &segment.Block{Time: 1500, Series: segment.TableOf(
		segment.Series{Ref: 1, Labels: segment.Labels{{Name: "__name__", Value: "m"}, {Name: "a", Value: "1"}}},
		segment.Series{Ref: 2, Labels: segment.Labels{{Name: "__name__", Value: "m"}, {Name: "a", Value: "2"}}},
	)}
	b.Samples.Add(segment.Sample{Ref: 1, Timestamp: 1000, Value: 3})
	b.Samples.Add(segment.Sample{Ref: 2, Timestamp: 1000, Value: 4})
	w.append(b)
	w.close()
	e := openEngine(t, dir, DefaultConfig(), time.Hour)
	x, err := e.Parse(t.Context(), viewer, `sum(m)  +m{a="2"} * on () group_left () vector(2)`)
	require.NoError(t, err)
	require.Equal(t, `sum(m) + m{a="2"} * on () group_left () vector(2)`, x.Text())
	x, err = e.Parse(t.Context(), viewer, `sum(m)`)
	require.NoError(t, err)
	got, err := e.Evaluate(t.Context(), x, 2000, 2000, 0, Options{Viewer: viewer})
	require.NoError(t, err)
	require.Equal(t, Vector{{T: 2000, F: 7, Metric: labels.EmptyLabels()}}, got.Value)
}
