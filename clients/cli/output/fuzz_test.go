package output

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Servers pass histograms on as they came, so no output may trust one.
func FuzzOutputs(f *testing.F) {
	for _, s := range metricstest.Series() {
		b, err := proto.Marshal(s)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := new(metricsv1.TimeSeries)
		if proto.Unmarshal(b, s) != nil {
			return
		}
		for _, name := range Formats {
			o := New(name, io.Discard, Options{Ordered: true, Terminal: true})
			require.NoError(t, o.Series([]*metricsv1.TimeSeries{s, s}))
			require.NoError(t, o.Close())
		}
	})
}
