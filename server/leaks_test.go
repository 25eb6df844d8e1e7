package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// hidden is in every name and value of what team a must not see.
const hidden = "hidden"

// worlds are two servers that team a must not be able to tell apart: one has its series
// alone, the other has those of another team among them.
type worlds struct {
	t      *testing.T
	random *rand.Rand
	// alone and among are the logs of each, in the order of their ids.
	alone, among []*source
	servers      [2]*instance
	// cursors that team a was given, by both at the same point of the same call, and
	// foreign ones, which others were given.
	cursors, foreign [][2]string
	// written is when all was written, in ms.
	written int64
	// answers of queries that had a value.
	answers int
	// alerts are answers of rules that had any.
	alerts int
}

func newWorlds(t *testing.T, seed uint64) *worlds {
	w := &worlds{t: t, random: rand.New(rand.NewPCG(seed, 9))}
	logs := 1 + w.random.IntN(2)
	for range logs {
		w.alone, w.among = append(w.alone, newSource(t)), append(w.among, newSource(t))
	}
	for _, sources := range [][]*source{w.alone, w.among} {
		slices.SortFunc(sources, func(a, b *source) int {
			return strings.Compare(a.writer.Log().ID().String(), b.writer.Log().ID().String())
		})
	}
	for range 60 {
		w.write(w.random.IntN(logs))
	}
	w.written = now()
	for i, sources := range [][]*source{w.alone, w.among} {
		for _, src := range sources {
			src.tickAt(w.written + writtenBy)
		}
		w.servers[i] = startFed(t, restricted(t, twoTeams), sources...)
	}
	return w
}

// write writes a block to both, of which a part may be hidden from team a.
func (w *worlds) write(log int) {
	var own, all []point
	at := now()
	for range 1 + w.random.IntN(20) {
		p := point{t: at - w.random.Int64N(100000), v: float64(w.random.IntN(1000))}
		switch w.random.IntN(10) {
		case 0:
			p.histogram = sizedHistogram(w.t, p.v, p.t, 100)
		case 1:
			p.exemplar = sized(w.t, p.v, 50)
		case 2:
			p.v = staleNaN
		}
		p.series = fmt.Sprintf(`metric_%d{team="a",i="%d"}`, w.random.IntN(5), w.random.IntN(10))
		if w.random.IntN(2) == 0 {
			p.series = fmt.Sprintf(`%s_%d{team="b",%s="%s-%d"}`, hidden, w.random.IntN(20), hidden, hidden, w.random.IntN(50))
		} else {
			own = append(own, p)
		}
		all = append(all, p)
	}
	a := &segment.Metadata{Family: fmt.Sprintf("metric_%d", w.random.IntN(5)), Type: 2, Help: "Help."}
	b := &segment.Metadata{Family: fmt.Sprintf("%s_%d", hidden, w.random.IntN(20)), Type: 1, Help: hidden}
	if len(own) > 0 {
		block := w.alone[log].block(own...)
		block.Metadata = []segment.Metadata{*a}
		w.alone[log].append(block)
	}
	block := w.among[log].block(all...)
	block.Metadata = []segment.Metadata{*b}
	if len(own) > 0 {
		block.Metadata = append(block.Metadata, *a)
	}
	w.among[log].append(block)
	if w.random.IntN(15) == 0 {
		w.alone[log].rotate()
		w.among[log].rotate()
	}
}

// told is what a client learns from a call, except for what means nothing to it.
type told struct {
	text  string
	bytes string   // as they came
	at    []string // cursors
}

func (w *worlds) tell(v way, token string, world int, call func(ctx context.Context, c metricsv1connect.MetricsServiceClient, world int) ([]proto.Message, error)) told {
	c, tap := v.as(w.t, w.servers[world], token)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	messages, err := call(ctx, c, world)
	var all told
	var text strings.Builder
	for _, m := range messages {
		if r, ok := m.(*getResponse); ok && r.GetCursor() != "" {
			all.at = append(all.at, r.GetCursor())
			r.Cursor = fmt.Sprint(len(r.GetCursor()))
		}
		fmt.Fprintf(&text, "%s\n", stable(m))
	}
	if err != nil {
		fmt.Fprintf(&text, "%v\n", err)
		var known *connect.Error
		if errors.As(err, &known) {
			for _, d := range known.Details() {
				m, err := d.Value()
				require.NoError(w.t, err)
				if old, ok := m.(*metricsv1.CursorOutOfRange); ok {
					old.OldestCursor = ""
				}
				fmt.Fprintf(&text, "%s\n", stable(m))
			}
		}
	}
	all.text, all.bytes = text.String(), tap.taken()
	return all
}

// difference is where two texts begin to differ.
func difference(a, b string) string {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			from := max(0, i-100)
			return fmt.Sprintf("%q\n%q", a[from:min(len(a), i+100)], b[from:min(len(b), i+100)])
		}
	}
	return ""
}

// stable is a text of a message that does not change from one program to the next.
func stable(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{Multiline: true}.Format(m)), " ")
}

// ask makes a random call in both worlds.
func (w *worlds) ask() {
	v, call, about := w.call()
	alone, among := w.tell(v, "a", 0, call), w.tell(v, "a", 1, call)
	require.Empty(w.t, difference(alone.text, among.text), "%s: %s", v.name, about)
	require.Len(w.t, among.bytes, len(alone.bytes), "%s: %s", v.name, about)
	if !strings.Contains(about, hidden) {
		require.NotContains(w.t, among.bytes, hidden, "%s: %s", v.name, about)
		require.NotContains(w.t, among.text, hidden, "%s: %s", v.name, about)
	}
	for _, log := range w.among {
		require.NotContains(w.t, among.bytes, log.writer.Log().ID().String())
	}
	require.Len(w.t, among.at, len(alone.at))
	for i := range alone.at {
		w.cursors = append(w.cursors, [2]string{alone.at[i], among.at[i]})
	}
}

var guesses = []string{
	`{}`, `{team="a"}`, `{team="b"}`, `{team!="a"}`, `{team!=""}`, `{team=~".*"}`, `{team=~"a|b"}`, `{__name__=~".+"}`, `metric_1`, `{i=~"[0-4]"}`,
	`{hidden!=""}`, `hidden_1`, `{hidden=~"hidden.*"}`, `{__name__!~"metric.*"}`, `{hidden=""}`, `{i!="3",hidden=""}`,
	`{team="a`, `{team=~"("}`, ``, `{team=~"` + strings.Repeat("x{1000}", 30) + `"}`,
}

func (w *worlds) selectors() (texts []string) {
	for range w.random.IntN(4) {
		texts = append(texts, guesses[w.random.IntN(len(guesses))])
	}
	return texts
}

// pick returns what it is called with in each world, often something wrong.
func (w *worlds) pick() [2]string {
	of := w.cursors
	if w.random.IntN(4) == 0 {
		of = w.foreign
	}
	if len(of) == 0 || w.random.IntN(10) == 0 {
		return [2]string{"s.AAAA", "s.AAAA"}
	}
	c := of[w.random.IntN(len(of))]
	if w.random.IntN(4) == 0 && len(c[0]) == len(c[1]) {
		i := 2 + w.random.IntN(len(c[0])-2)
		for k := range c {
			changed := []byte(c[k])
			if changed[i] = 'A'; c[k][i] == 'A' {
				changed[i] = 'B'
			}
			c[k] = string(changed)
		}
	}
	return c
}

// call is a random call, and what it is about.
func (w *worlds) call() (way, func(context.Context, metricsv1connect.MetricsServiceClient, int) ([]proto.Message, error), string) {
	v, limit, selectors := ways[w.random.IntN(len(ways))], uint32(w.random.IntN(6)), w.selectors()
	name := []string{"team", "i", "__name__", hidden, ""}[w.random.IntN(5)]
	family := []string{"", "", "metric_1", hidden + "_1"}[w.random.IntN(4)]
	switch w.random.IntN(6) {
	case 0:
		return v, func(ctx context.Context, c metricsv1connect.MetricsServiceClient, _ int) ([]proto.Message, error) {
			res, err := c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: selectors, Limit: limit}))
			return messageOf(res, err)
		}, fmt.Sprint("label names of ", selectors)
	case 1:
		return v, func(ctx context.Context, c metricsv1connect.MetricsServiceClient, _ int) ([]proto.Message, error) {
			res, err := c.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: name, Selectors: selectors, Limit: limit}))
			return messageOf(res, err)
		}, fmt.Sprint("label values of ", name, selectors)
	case 2:
		return v, func(ctx context.Context, c metricsv1connect.MetricsServiceClient, _ int) ([]proto.Message, error) {
			res, err := c.GetMetadata(ctx, connect.NewRequest(&metricsv1.GetMetadataRequest{MetricFamilyName: family, Limit: limit}))
			return messageOf(res, err)
		}, fmt.Sprint("metadata of ", family)
	case 3:
		return v, func(ctx context.Context, c metricsv1connect.MetricsServiceClient, _ int) ([]proto.Message, error) {
			res, err := c.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
			return messageOf(res, err)
		}, "status"
	}
	req := &getRequest{Selectors: selectors, Follow: w.random.IntN(3) == 0, LabelReferences: w.random.IntN(2) == 0}
	var at [2]string
	switch w.random.IntN(3) {
	case 0:
		req.Start = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(now() - w.random.Int64N(110000)))}
	case 1:
		at = w.pick()
	}
	return v, func(ctx context.Context, c metricsv1connect.MetricsServiceClient, world int) ([]proto.Message, error) {
		q := proto.CloneOf(req)
		if at[world] != "" {
			q.Start = after(at[world])
		}
		return untilPresent(ctx, c, q)
	}, fmt.Sprint("metrics ", req, at)
}

func messageOf[M any, P interface {
	*M
	proto.Message
}](res *connect.Response[M], err error) ([]proto.Message, error) {
	if err != nil {
		return nil, err
	}
	return []proto.Message{P(res.Msg)}, nil
}

// untilPresent receives what a stream has up to the present.
func untilPresent(ctx context.Context, c metricsv1connect.MetricsServiceClient, req *getRequest) (got []proto.Message, err error) {
	stream, err := c.GetMetrics(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		got = append(got, stream.Msg())
		if isSynced(stream.Msg()) {
			return got, nil
		}
	}
	return got, stream.Err()
}

// Nothing that team a can ask tells it anything of the series of others: not their labels,
// nor how many there are, nor whether there are any. What it is told by a server that has
// them is what it is told by one that does not.
func TestNothingIsLearnedOfOthers(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorlds(t, seed)
			for world, s := range w.servers {
				for i, token := range []string{"b", "all"} {
					c, _ := ways[0].as(t, s, token)
					got, err := get(t.Context(), c, &getRequest{})
					require.NoError(t, err)
					if world == 0 {
						w.foreign = append(w.foreign, [2]string{})
					}
					w.foreign[i][world] = lastCursor(got)
				}
			}
			for range 100 {
				w.ask()
				w.askPromAPI()
				w.askQuery()
				w.askRules()
				w.askStore()
			}
			require.NotEmpty(t, w.cursors)
			require.NotZero(t, w.answers)
			require.NotZero(t, w.alerts)
		})
	}
}

// follower opens a stream of team a that follows, by the token a.
func (s *instance) follower(t *testing.T, v way, req *getRequest) receiver {
	c, _ := v.as(t, s, "a")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := c.GetMetrics(ctx, connect.NewRequest(req))
	require.NoError(t, err)
	return func() (*getResponse, error) {
		if !stream.Receive() {
			return nil, stream.Err()
		}
		return stream.Msg(), nil
	}
}

// A gap tells that something may be missing, and neither where nor how much.
func TestGapsTellNothingOfOthers(t *testing.T) {
	overWays(t, func(t *testing.T, v way) {
		src := newSourceWith(t, seglog.Options{RetentionSize: 1})
		at := now()
		src.write(point{series: `up{team="a"}`, t: at, v: 1})
		s := start(t, restricted(t, twoTeams))
		stop := src.feed(s.Server)
		s.await(t, src)
		recv := s.follower(t, v, &getRequest{Follow: true})
		until(t, recv, isSynced)
		stop()
		for i := range int64(3) {
			src.write(point{series: `up{team="b"}`, t: at + i, v: 2})
			src.rotate()
		}
		src.write(point{series: `up{team="a"}`, t: at + 9, v: 4})
		src.feed(s.Server)
		for _, r := range until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 }) {
			if gap := r.GetGap(); gap != nil {
				require.Equal(t, "retention overtook the stream", gap.GetReason())
				require.Empty(t, gap.GetLogId())
				require.Zero(t, gap.GetAfterSequence())
				require.Zero(t, gap.GetNextSequence())
				return
			}
		}
		require.Fail(t, "there is a gap")
	})
}

// An error has neither the names of logs, nor numbers of blocks, nor what others hold.
func TestErrorsTellNothingOfOthers(t *testing.T) {
	src, other := ofTwoTeams(t), ofTwoTeams(t)
	c := restricted(t, strings.Replace(twoTeams, `['{team="a"}']`, `['{team="a"}'], memory: 40KiB`, 1))
	c.CursorWait = 100 * time.Millisecond
	ahead, behind := startFed(t, restricted(t, twoTeams), src), start(t, c)
	c.StoragePath = t.TempDir()
	elsewhere := startFed(t, c, other)
	stop := src.feed(behind.Server)
	behind.await(t, src)
	stop()
	src.write(point{series: `up{team="b"}`, t: now(), v: 8})
	ahead.await(t, src)
	overWays(t, func(t *testing.T, v way) {
		a, _ := v.as(t, ahead, "a")
		got, err := get(t.Context(), a, &getRequest{})
		require.NoError(t, err)
		at := lastCursor(got)
		plain := func(err error) {
			t.Helper()
			require.Error(t, err)
			require.NotContains(t, err.Error(), src.writer.Log().ID().String())
			require.NotRegexp(t, `\d`, err.Error())
		}
		late, _ := v.as(t, behind, "a")
		_, err = get(t.Context(), late, &getRequest{Start: after(at)})
		requireCode(t, connect.CodeUnavailable, err)
		plain(err)
		_, err = cursor.Parse(detail[*metricsv1.StreamInterrupted](t, err).GetCursor())
		require.Error(t, err, "it is sealed")

		missing, _ := v.as(t, elsewhere, "a")
		_, err = get(t.Context(), missing, &getRequest{Start: after(at)})
		requireCode(t, connect.CodeOutOfRange, err)
		plain(err)
		oldest := detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor()
		_, err = cursor.Parse(oldest)
		require.Error(t, err, "it is sealed")
		got, err = get(t.Context(), missing, &getRequest{Start: after(oldest)})
		require.NoError(t, err)
		require.Len(t, lines(got...), 2)

		long := []string{`{x=~"` + strings.Repeat("a|", 8000) + `"}`}
		_, err = get(t.Context(), late, &getRequest{Selectors: long})
		requireCode(t, connect.CodeResourceExhausted, err)
		plain(err)
		_, err = late.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: long}))
		requireCode(t, connect.CodeResourceExhausted, err)
		plain(err)
		require.NotRegexp(t, `\d`, detail[*errdetails.QuotaFailure](t, err).GetViolations()[0].GetDescription())
	})
}

// Nor has the error of a call that is refused while it is worked on.
func TestErrorsOfLookupsTellNothingOfOthers(t *testing.T) {
	c := restricted(t, twoTeams)
	c.EvaluationBytes = 1
	s := startFed(t, c, ofTwoTeams(t))
	overWays(t, func(t *testing.T, v way) {
		a, _ := v.as(t, s, "a")
		_, err := a.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		requireCode(t, connect.CodeResourceExhausted, err)
		require.ErrorContains(t, err, "--limit.evaluation-bytes")
		require.NotRegexp(t, `\d`, err.Error())
	})
}

// An exemplar that has no time comes or does not whatever others write.
func TestExemplarsWithoutATimeTellNothingOfOthers(t *testing.T) {
	const since = 1000
	var want []string
	for _, others := range []int64{since - 1, since + 1} {
		src := newSource(t)
		src.write(point{series: `up{team="a"}`, t: 1, v: 1}, point{series: `up{team="b"}`, t: others, v: 1})
		src.write(point{series: `up{team="a"}`, exemplar: wire(t, &metricsv1.Exemplar{Value: 3})})
		src.rotate()
		src.write(point{series: `up{team="a"}`, t: since + 2, v: 2})
		s := startFed(t, restricted(t, twoTeams), src)
		a, _ := ways[0].as(t, s, "a")
		got, err := get(t.Context(), a, &getRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(since))}})
		require.NoError(t, err)
		if want == nil {
			want = lines(got...)
		}
		require.Equal(t, want, lines(got...))
	}
	require.Len(t, want, 1)
}

// When references are forgotten depends on the series of the caller alone.
func TestReferencesOfPoliciesAreForgotten(t *testing.T) {
	src := newSource(t)
	src.append(tenLabels(0, 20000))
	s := startFed(t, restricted(t, strings.Replace(twoTeams, `{team="a"}`, `{team!="b"}`, 1)), src)
	plain := s.follower(t, ways[0], request(true, &getRequest{Follow: true}))
	forgot := false
	recv, _ := restoring(t, func() (*getResponse, error) {
		r, err := plain()
		forgot = forgot || r.GetForgetReferences()
		return r, err
	})
	until(t, recv, isSynced)
	require.False(t, forgot)
	many := func(team string) *segment.Block {
		points := make([]point, 10000)
		for i := range points {
			points[i] = point{series: fmt.Sprintf(`up{team="%s",i="%d"}`, team, i), t: 1, v: 1}
		}
		return src.block(points...)
	}
	others := many("b")
	others.Time = now() + 5000 // They stay.
	src.append(others)
	src.head.Expire(now()+1000, nil)
	src.rotate()
	src.append(many("a"))
	seen := 0
	until(t, recv, func(r *getResponse) bool { seen += len(lines(r)); return seen == 10000 })
	require.True(t, forgot)
}
