package remote

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// group is one that answers each call with the next of what it was given, and then as the
// last time.
type group struct {
	name string

	mu      sync.Mutex
	away    bool
	asked   []proto.Message
	answers [][]any // messages, and at last an error
}

func (g *group) Name() string { return g.name }

func (g *group) Away() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.away
}

func (g *group) Open(ctx context.Context, _ string, request proto.Message) (Stream, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, proto.Clone(request))
	rest := g.answers[0]
	if len(g.answers) > 1 {
		g.answers = g.answers[1:]
	}
	return &stream{ctx, rest}, nil
}

type stream struct {
	ctx  context.Context
	rest []any
}

// Receive waits after the last message if there is no error.
func (s *stream) Receive([]byte) ([]byte, error) {
	if len(s.rest) == 0 {
		<-s.ctx.Done()
		return nil, connect.NewError(connect.CodeCanceled, s.ctx.Err())
	}
	one := s.rest[0]
	s.rest = s.rest[1:]
	if err, ok := one.(error); ok {
		return nil, err
	}
	return proto.Marshal(one.(proto.Message))
}

func (*stream) Close() {}

// several are groups.
type several struct {
	mu      sync.Mutex
	list    []Group
	changed broadcast.Signal
}

func (s *several) Groups() ([]Group, <-chan struct{}) {
	changed := s.changed.Next()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list, changed
}

func (s *several) set(list ...Group) {
	s.mu.Lock()
	s.list = list
	s.mu.Unlock()
	s.changed.Wake()
}

var errLost = connect.NewError(connect.CodeUnavailable, errors.New("lost"))

// seriesOf are series called m by a label i.
func seriesOf(values ...string) *queryv1.ReadSeriesResponse {
	m := &queryv1.ReadSeriesResponse{}
	for _, v := range values {
		m.Series = append(m.Series, &queryv1.StoredSeries{Labels: []*metricsv1.Label{{Name: "__name__", Value: "m"}, {Name: "i", Value: v}}})
	}
	return m
}

var end = &queryv1.ReadSeriesResponse{End: &metricsv1.End{}}

const room = 1 << 20

// newSource returns a source, and what one who asks holds.
func newSource(t *testing.T, timeout time.Duration, list ...Group) (*Source, *limit.Hold) {
	t.Helper()
	l := selection.DefaultLimits()
	held := limit.NewBudget("--limit.memory", "bytes", room, room).Hold("peer")
	t.Cleanup(held.Release)
	return &Source{
		Groups: &several{list: list}, Timeout: timeout,
		Evaluations: selection.NewEvaluations(l, limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(l.EvaluationBytes), int64(l.EvaluationBytes))),
	}, held
}

func matchers(name string, t labels.MatchType, value string) [][]*labels.Matcher {
	return [][]*labels.Matcher{{labels.MustNewMatcher(t, name, value)}}
}

func valuesOf(found []*samples.Series) (values []string) {
	for _, s := range found {
		values = append(values, s.Labels.Get("i"))
	}
	return values
}

// A call that breaks off, or that ends before all was there, is made again; nothing of it
// is left, in what is found or in what is held.
func TestCallsAreMadeAgain(t *testing.T) {
	a := &group{name: "a", answers: [][]any{{seriesOf("1"), errLost}, {seriesOf("1"), io.EOF}, {seriesOf("1"), seriesOf("3"), end, io.EOF}}}
	b := &group{name: "b", answers: [][]any{{seriesOf("2"), end, io.EOF}}}
	s, held := newSource(t, time.Minute, a, b)
	q := samples.Query{Sets: matchers("__name__", labels.MatchEqual, "m"), From: 1, To: 2, Reached: new(int64(7))}
	found, err := s.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, q)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, valuesOf(found))
	require.Len(t, a.asked, 3)
	require.True(t, proto.Equal(&queryv1.ReadSeriesRequest{Selectors: []string{`{__name__="m"}`}, MinTime: 1, MaxTime: 2, Reached: new(int64(7))}, b.asked[0]))
	most := int64(0)
	for _, m := range []proto.Message{seriesOf("1"), seriesOf("2"), seriesOf("3"), end, end} {
		most += samples.SeriesBytes + int64(proto.Size(m))
	}
	require.LessOrEqual(t, held.Held(), most)
}

// A group none of whose servers answers is named, and errors that another server would have
// as well are told at once.
func TestErrorsOfGroups(t *testing.T) {
	well := func() *group { return &group{name: "a", answers: [][]any{{seriesOf("2"), end, io.EOF}}} }
	q := samples.Query{Sets: matchers("__name__", labels.MatchEqual, "m")}
	s, held := newSource(t, 2*betweenAttempts, well(), &group{name: "b", answers: [][]any{{errLost}}})
	_, err := s.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, q)
	var away *refusal.AwayError
	require.ErrorAs(t, err, &away)
	require.Equal(t, []string{"b"}, away.Groups)

	exhausted := connect.NewError(connect.CodeResourceExhausted, errors.New("too much"))
	s, held = newSource(t, time.Minute, well(), &group{name: "b", answers: [][]any{{exhausted}}})
	_, err = s.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, q)
	require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err))

	many := &queryv1.ReadSeriesResponse{}
	for i := range room / samples.SeriesBytes {
		many.Series = append(many.Series, seriesOf(strconv.Itoa(1_000_000+i)).Series...)
	}
	s, held = newSource(t, time.Minute, well(), &group{name: "b", answers: [][]any{{many, end, io.EOF}}})
	_, err = s.Select(t.Context(), selection.Viewer{Peer: "peer"}, held, q)
	var over *limit.Error
	require.ErrorAs(t, err, &over)

	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	s, held = newSource(t, time.Minute, well(), &group{name: "b", answers: [][]any{{}}})
	_, err = s.Select(ctx, selection.Viewer{Peer: "peer"}, held, q)
	require.ErrorIs(t, err, gone)
}

// A viewer finds no series but those that it may see, and more selectors than fit into a
// request are asked for in several.
func TestViewers(t *testing.T) {
	g := &group{name: "a", answers: [][]any{{seriesOf("1", "2", "3"), end, io.EOF}}}
	s, held := newSource(t, time.Minute, g)
	e := s.Evaluations.New(t.Context(), selection.Viewer{Peer: "peer"})
	allowed := e.Select(matchers("i", labels.MatchNotEqual, "2")...)
	e.End()
	v := selection.Viewer{Peer: "peer", Allowed: &allowed}
	var sets [][]*labels.Matcher
	for i := range mostSelectors + 1 {
		sets = append(sets, matchers("i", labels.MatchEqual, strconv.Itoa(i))...)
	}
	found, err := s.Select(t.Context(), v, held, samples.Query{Sets: sets})
	require.NoError(t, err)
	require.Equal(t, []string{"1", "3"}, valuesOf(found))
	require.Len(t, g.asked, 2)
	require.Len(t, g.asked[0].(*queryv1.ReadSeriesRequest).GetSelectors(), mostSelectors)
	require.Equal(t, []string{`{i="64"}`}, g.asked[1].(*queryv1.ReadSeriesRequest).GetSelectors())
}

func at(ms int64) *queryv1.FollowTimeResponse { return &queryv1.FollowTimeResponse{Time: &ms} }

// Time is that of the slowest group, is known once all are, and does not go back where a
// group is asked at a server that is behind.
func TestTime(t *testing.T) {
	a := &group{name: "a", answers: [][]any{
		{&queryv1.FollowTimeResponse{}, &queryv1.FollowTimeResponse{Time: new(int64(5000)), Began: new(int64(1000)), Lost: new(int64(2000))}, errLost},
		{&queryv1.FollowTimeResponse{Time: new(int64(4000)), Began: new(int64(1000))}},
	}}
	b := &group{name: "b", answers: [][]any{{at(9000)}}}
	all := &several{list: []Group{a}}
	now := NewTime(all, time.Hour)
	_, ok := now.Passed()
	require.False(t, ok)
	require.EqualValues(t, math.MaxInt64, now.Began())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { now.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	eventually := func(want int64) {
		t.Helper()
		require.Eventually(t, func() bool { ms, ok := now.Passed(); return ok && ms == want }, time.Minute, time.Millisecond)
	}
	eventually(5000)
	require.Eventually(t, func() bool { return now.Lost() == math.MinInt64 && now.Began() == 1000 }, time.Minute, time.Millisecond)
	eventually(5000) // The second server has come to 4000.

	c := &group{name: "c", answers: [][]any{{&queryv1.FollowTimeResponse{}}}}
	all.set(a, b, c)
	require.Eventually(t, func() bool { _, ok := now.Passed(); return !ok }, time.Minute, time.Millisecond)
	all.set(a, b)
	eventually(5000)
	all.set(b)
	eventually(9000)

	// It has left and come back, and is followed where its servers are found now.
	b = &group{name: "b", answers: [][]any{{at(8000)}}}
	all.set(b)
	eventually(8000)

	names, changed := now.HeldBy()
	require.Empty(t, names)
	b.mu.Lock()
	b.away = true
	b.mu.Unlock()
	all.set(b)
	<-changed
	names, _ = now.HeldBy()
	require.Equal(t, []string{"b"}, names)
	require.Equal(t, names, now.Away())
}

// A group is silent once its time has stood still, until another server has come further.
func TestSilentGroups(t *testing.T) {
	a := &group{name: "a", answers: [][]any{{at(4000), at(4000)}}}
	now := NewTime(&several{list: []Group{a}}, 0) // Standing still counts at once.
	_, changed := now.HeldBy()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { now.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	<-changed
	names, changed := now.HeldBy()
	require.Equal(t, []string{"a"}, names)
	require.Equal(t, names, now.Silent())
	require.Empty(t, now.Away())

	now.mu.Lock()
	now.silentAfter = time.Hour
	now.mu.Unlock()
	a.mu.Lock()
	a.answers = [][]any{{at(5000)}}
	a.mu.Unlock()
	<-changed
	names, _ = now.HeldBy()
	require.Empty(t, names)
	require.Eventually(t, func() bool { ms, ok := now.Passed(); return ok && ms == 5000 }, time.Minute, time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	require.GreaterOrEqual(t, len(a.asked), 2)
}
