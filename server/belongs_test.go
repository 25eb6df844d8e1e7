package server_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// belong appends a block by which the log is of a group, by a version of the groups file.
func (s *source) belong(group string, version uint64) {
	s.t.Helper()
	p, err := placement.New(version, placement.BySender, nil, []placement.Epoch{{From: placement.Ever, Groups: []string{"a", "b"}}})
	require.NoError(s.t, err)
	s.append(&segment.Block{Time: time.Now().UnixMilli(), Placement: segment.Placement{Group: group, Wire: string(p.Bytes())}})
}

// TestStatusSaysWhichGroup checks that status and metrics say which group a log is of, and by
// which version of the groups file it is written, from the blocks and after a restart.
func TestStatusSaysWhichGroup(t *testing.T) {
	one, other := newSource(t), newSource(t)
	one.write(point{series: "x", t: now(), v: 1})
	other.write(point{series: "y", t: now(), v: 1})
	config := testConfig(t)
	s := startFed(t, config, one, other)
	status := func(s *instance, group string, version uint64, groups map[string]uint64) {
		t.Helper()
		for _, o := range [][]connect.ClientOption{nil, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
			c := connectClient(t, s.RPCAddr().String(), false, o...)
			require.Eventually(t, func() bool {
				m, err := c.GetStatus(context.Background(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
				require.NoError(t, err)
				got := map[string]uint64{}
				for _, l := range m.Msg.GetLogs() {
					if l.GetGroup() != "" {
						got[l.GetGroup()] += l.GetPlacementVersion()
					}
				}
				return m.Msg.GetGroup() == group && m.Msg.GetPlacementVersion() == version && maps.Equal(got, groups)
			}, patience, time.Millisecond)
		}
	}
	status(s, "", 0, nil)
	one.belong("a", 3)
	other.belong("a", 3)
	one.belong("a", 4)
	status(s, "a", 4, map[string]uint64{"a": 7})
	require.InDelta(t, 3+4, s.metric(t, "promgrpc_server_placement_version"), 0)

	other.belong("b", 5) // which no forwarder does
	status(s, "", 5, map[string]uint64{"a": 4, "b": 5})
	s.stop()
	status(start(t, config), "", 5, map[string]uint64{"a": 4, "b": 5})
}
