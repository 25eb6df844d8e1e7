package server_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// BenchmarkMerged replays two logs, each of a server of its own: from the servers, and
// through a router in the same process. What the router costs is the difference.
func BenchmarkMerged(b *testing.B) {
	const series, blocks = 20000, 20
	two := &twoGroups{}
	for i, name := range []string{"a", "b"} {
		two.sources[i] = newSource(b)
		two.sources[i].append(tenLabels(0, series))
		refs := make([]uint64, series)
		for n := range refs {
			refs[n] = uint64(n + 1)
		}
		for n := range blocks {
			two.sources[i].append(floats(refs, now(), float64(n)))
		}
		s := startFed(b, testConfig(b), two.sources[i])
		two.servers[i][0], two.servers[i][1] = s, s
		two.groups[i] = newCutGroup(b, name, s)
	}
	r := newMerging(b, 0, two.groups[:]...)
	everyWay(b, func(b *testing.B, references bool) {
		text, err := protojson.Marshal(request(references, &getRequest{Start: fromTheStart}))
		require.NoError(b, err)
		replay := func(addresses ...string) time.Duration {
			before := cpu()
			for _, address := range addresses {
				calls := callersAt(b, address, 1, string(text))
				require.Equal(b, io.EOF.Error(), calls.await(1, "end"))
				calls.stop()
			}
			return cpu() - before
		}
		var servers, routed time.Duration
		for range b.N {
			servers += replay(two.servers[0][0].RPCAddr().String(), two.servers[1][0].RPCAddr().String())
			routed += replay(r.address)
		}
		samples := float64(b.N) * 2 * series * (blocks + 1)
		b.ReportMetric(float64(servers.Nanoseconds())/samples, "server-ns/sample")
		b.ReportMetric(float64((routed-servers).Nanoseconds())/samples, "router-ns/sample")
	})
}
