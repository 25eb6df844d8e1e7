package server_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// BenchmarkQuery has a thousand series written each second, of which as many as it says
// follow an expression: CPU time of a step, all subscribers together, and the time from
// the block that makes a step due until the last has it.
func BenchmarkQuery(b *testing.B) {
	const series = 1000
	for _, expression := range []string{"sum by (job) (rate(m[1m]))", "rate(m[1m])"} {
		for _, subscribers := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/subscribers=%d", expression, subscribers), func(b *testing.B) {
				src := newSourceAt(b, t0)
				at := t0
				write := func() {
					at += second
					points := make([]point, series)
					for i := range points {
						points[i] = point{series: fmt.Sprintf(`m{i="%d",job="%d"}`, i, i%20), t: at, v: float64(at-t0) * math.Sqrt(float64(i))}
					}
					src.writeAt(at, points...)
				}
				for range 60 {
					write()
				}
				c := testConfig(b)
				c.PeerShare, c.ConnStreams = 100, subscribers
				srv := startFed(b, c, src)
				req, err := protojson.Marshal(&queryRequest{Expression: expression, Step: secs(1), Delay: secs(1), Follow: true, LabelReferences: true})
				require.NoError(b, err)
				clients := callersOf(b, srv, subscribers, benchQuery+string(req))
				clients.await(subscribers, "synced")
				before := srv.metric(b, "promgrpc_server_sent_bytes_total")
				var slowest, waited time.Duration
				began := cpu()
				b.ResetTimer()
				for b.Loop() {
					write()
					due := time.Now()
					clients.await(subscribers, "step")
					waited += time.Since(due)
					slowest = max(slowest, time.Since(due))
				}
				steps := float64(b.N)
				b.ReportMetric(float64((cpu()-began).Microseconds())/steps, "cpu-µs/step")
				b.ReportMetric(float64(waited.Microseconds())/steps, "µs/last")
				b.ReportMetric(float64(slowest.Microseconds()), "µs/slowest")
				b.ReportMetric((srv.metric(b, "promgrpc_server_sent_bytes_total")-before)/steps/float64(subscribers), "bytes/subscriber")
			})
		}
	}
}
