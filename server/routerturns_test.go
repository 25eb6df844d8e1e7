package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/router"
	"github.com/promgrpc/exporter/server/rpc"
)

// gauge is a metric of the router that has no labels.
func (r *routing) gauge(t testing.TB, name string) float64 {
	families, err := r.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "no metric", name)
	return 0
}

// A router asks its groups for so many lookups at a time as are allowed. The others wait,
// and are answered.
func TestRouterTakesTurns(t *testing.T) {
	two := newTwoGroups(t)
	two.await(t)
	r := startRouter(t, two, func(c *router.Config) { c.Lookups = 1 })
	waiting := func() (n int) {
		for _, group := range two.servers {
			for _, s := range group {
				n += s.LookupsWaiting()
			}
		}
		return n
	}
	const calls = 6
	overAll(t, func(t *testing.T, p protocol) {
		var releases []func()
		for _, group := range two.servers {
			for _, s := range group {
				release, err := s.TakeTurns(t.Context())
				require.NoError(t, err)
				releases = append(releases, release)
				defer release()
			}
		}
		ended := make(chan error, calls)
		client := clientOf(t, p, r.address())
		for range calls {
			go func() {
				_, err := client.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
				ended <- err
			}()
		}
		require.Eventually(t, func() bool { return r.gauge(t, "promgrpc_router_call_bytes") >= calls*answer.CallCost }, patience, time.Millisecond)
		require.Eventually(t, func() bool { return waiting() == len(two.servers) }, patience, time.Millisecond)
		require.Never(t, func() bool { return waiting() > len(two.servers) }, 200*time.Millisecond, 10*time.Millisecond)
		for _, release := range releases {
			release()
		}
		for range calls {
			require.NoError(t, <-ended)
		}
		require.Eventually(t, func() bool { return r.gauge(t, "promgrpc_router_call_bytes") == 0 }, patience, time.Millisecond)
	})
}

// What the groups have said takes room while it is held, however little of it is asked for.
func TestRouterTakesRoomForAnswers(t *testing.T) {
	two := newTwoGroups(t)
	for i, src := range two.sources {
		b := src.block(point{series: "m", t: now(), v: 1})
		for n := range 2 * answer.Size / (64 << 10) {
			b.Metadata = append(b.Metadata, segment.Metadata{Family: fmt.Sprintf("f%d_%d", n, i), Help: strings.Repeat("x", 64<<10)})
		}
		src.append(b)
	}
	two.await(t)
	least := rpc.LeastCall(0)
	full := int(least/(2*answer.Size)) + 1 // groups whose answers are too much
	for _, n := range []int{1, full} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			text := "groups:\n"
			for i := range n {
				text += fmt.Sprintf("  g%d: {servers: %q}\n", i, two.servers[i%2][0].RPCAddr())
			}
			file := filepath.Join(t.TempDir(), "groups.yml")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			r := startRouter(t, two, func(c *router.Config) {
				c.GroupsFile, c.RequestBytes = file, 1<<10
				c.CallBytes, c.PeerShare = units.Base2Bytes(least), 100
			})
			overAll(t, func(t *testing.T, p protocol) {
				res, err := clientOf(t, p, r.address()).GetMetadata(t.Context(), connect.NewRequest(&metricsv1.GetMetadataRequest{Limit: 1}))
				if n < full {
					require.NoError(t, err)
					require.Len(t, res.Msg.GetMetadata(), 1)
				} else {
					require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err), "%v", err)
					require.ErrorContains(t, err, "--limit.call-bytes")
				}
			})
		})
	}
}
