package merge

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/segment"
)

// sending is a group that sends responses to who opens a stream, and no more then.
type sending struct {
	name string
	all  []*metricsv1.GetMetricsResponse

	mu     sync.Mutex
	opened int
}

func (g *sending) Name() string                         { return g.name }
func (g *sending) Logs() (map[segment.LogID]bool, bool) { return nil, false }
func (g *sending) Away() bool                           { return false }
func (g *sending) Servers() int                         { return 1 }
func (g *sending) Refresh(context.Context)              {}

func (g *sending) Open(ctx context.Context, _ string, _ proto.Message) (Upstream, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened++
	return &upstream{ctx, g.all}, nil
}

func (g *sending) timesOpened() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

type upstream struct {
	ctx context.Context
	all []*metricsv1.GetMetricsResponse
}

func (u *upstream) Receive([]byte) ([]byte, error) {
	if len(u.all) == 0 {
		<-u.ctx.Done()
		return nil, io.EOF
	}
	one := u.all[0]
	u.all = u.all[1:]
	return proto.Marshal(one)
}

func (*upstream) Close() {}

// listed are groups of a list that changes.
type listed struct {
	mu      sync.Mutex
	list    []Group
	changed broadcast.Signal
}

func (l *listed) Groups() ([]Group, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list, l.changed.Next()
}

func (l *listed) set(list ...Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = list
	l.changed.Wake()
}

// streamOf is a stream that follows groups, none of whose parts was started.
func streamOf(t *testing.T, groups *listed) *stream {
	st := &stream{
		Streams: &Streams{Groups: groups, Timeout: time.Hour, Metrics: NewMetrics()}, ctx: t.Context(), follow: true,
		request: &metricsv1.GetMetricsRequest{Follow: true}, out: newJoined(), woken: make(chan struct{}, 1),
		hold: room(1 << 20), movedHold: room(1 << 20),
	}
	var list []Group
	list, st.changed = groups.Groups()
	for _, g := range list {
		st.add(g)
	}
	t.Cleanup(st.close)
	return st
}

func series() *metricsv1.GetMetricsResponse {
	return &metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{{Labels: []*metricsv1.Label{{Name: "__name__", Value: "m"}}}}}
}

// A group that is removed while its snapshot comes cannot be read to its end: without a
// cursor, what came of it would come again.
func TestGroupIsRemovedWithinItsSnapshot(t *testing.T) {
	a := &sending{name: "a", all: []*metricsv1.GetMetricsResponse{series()}}
	groups := &listed{list: []Group{a}}
	st := streamOf(t, groups)
	st.parts[0].start(t.Context())
	<-st.woken
	groups.set(&sending{name: "b"})
	err := st.regroup()
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
	require.ErrorContains(t, err, errLoose.Error())
	require.Equal(t, 1, a.timesOpened())
}

// A group of the same name is another one once it has left: its servers are found anew. The
// one before is read to its end first.
func TestGroupLeavesAndComesBack(t *testing.T) {
	before, after := &sending{name: "a"}, &sending{name: "a"}
	groups := &listed{list: []Group{before}}
	st := streamOf(t, groups)
	groups.set(after)
	require.NoError(t, st.regroup())
	require.Len(t, st.parts, 1)
	require.True(t, st.parts[0].leaving)
	st.parts[0].ended = true
	require.NoError(t, st.regroup())
	require.NoError(t, st.regroup())
	require.Len(t, st.parts, 1)
	require.Same(t, after, st.parts[0].group)
	require.False(t, st.parts[0].leaving)
}

// What has no place yet has none after the streams were opened again with other numbers
// either.
func TestRenumberWhileAGroupHasNoPlace(t *testing.T) {
	a, b := &sending{name: "a"}, &sending{name: "b"}
	st := streamOf(t, &listed{list: []Group{a, b}})
	st.numbers = newNumbers(2)
	st.parts[0].numbers = st.numbers
	st.parts[0].start(t.Context())
	require.NoError(t, st.renumber())
	require.True(t, st.out.forget)
	require.NotNil(t, st.parts[0].done)
	require.Nil(t, st.parts[1].done)
	require.Same(t, st.numbers, st.parts[1].numbers)
	require.Zero(t, b.timesOpened())
}
