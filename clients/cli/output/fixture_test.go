package output

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const t0 = metricstest.T0

var (
	labels = metricstest.Labels
	float  = metricstest.Float
	native = metricstest.Native
	stale  = metricstest.Stale
)

// end is that of the last response of a stream.
func end(cursor string) Event { return Event{Kind: End, Cursor: cursor} }

// printed returns what a format prints of the tests' series, and what it leaves
// out.
func printed(t *testing.T, format string, o Options) (text, omitted string) {
	t.Helper()
	o.Ordered, o.Metadata = true, NewMetadata(metricstest.Metadata().GetMetadata())
	var b bytes.Buffer
	out := New(format, &b, o)
	require.NoError(t, out.Series(metricstest.Series()))
	require.NoError(t, out.Event(end("c2")))
	require.NoError(t, out.Close())
	return b.String(), out.Omitted()
}
