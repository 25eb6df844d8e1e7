package output

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const t0 = metricstest.T0

var (
	labels = metricstest.Labels
	float  = metricstest.Float
	native = metricstest.Native
	stale  = metricstest.Stale
)

// end is the last update of a stream.
func end(cursor string) promgrpc.Update {
	return promgrpc.Update{GetMetricsResponse: &metricsv1.GetMetricsResponse{
		Cursor: cursor, Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}},
	}}
}

// printed is what a format has for all the series there are in tests, and what it
// left out.
func printed(t *testing.T, format string, o Options) (text, omitted string) {
	t.Helper()
	o.Ordered, o.Families = true, NewFamilies(metricstest.Metadata().GetMetadata())
	var b bytes.Buffer
	out := New(format, &b, o)
	require.NoError(t, out.Series(metricstest.Series()))
	require.NoError(t, out.Event(end("c2")))
	require.NoError(t, out.Close())
	return b.String(), out.Omitted()
}
