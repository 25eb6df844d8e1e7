package cli

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Servers pass histograms on as they got them, so no output may trust one.
func FuzzOutputs(f *testing.F) {
	for _, s := range fixture() {
		b, err := proto.Marshal(s)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := new(metricsv1.TimeSeries)
		if proto.Unmarshal(b, s) != nil {
			return
		}
		for _, name := range outputNames {
			o := newOutput(name, io.Discard, outputOptions{ordered: true, terminal: true})
			require.NoError(t, o.series([]*metricsv1.TimeSeries{s, s}))
			require.NoError(t, o.close())
		}
	})
}
