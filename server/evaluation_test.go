package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server"
)

// heavySelector takes long to match a value, and is about as large as it may be.
func heavySelector(c server.Config) string {
	const part, instructions = `[a-z0-9/]{0,30}`, 2*30 + 10
	return `{path=~"` + strings.Repeat(part, int(c.SelectorSize)/instructions) + `[!?]"}`
}

// heavySource has so many values that matching all of them takes far longer than a test
// may.
func heavySource(t *testing.T) *source {
	const values, perBlock = 20_000, 5000
	src := newSource(t)
	for first := 0; first < values; first += perBlock {
		var points []point
		for i := range perBlock {
			series := fmt.Sprintf(`up{path="/%s/%d"}`, strings.Repeat("abcdefghij/", 5), first+i)
			points = append(points, point{series: series, t: now(), v: 1})
		}
		src.write(points...)
	}
	return src
}

// eachWay runs a test with every way to call with a selector, which returns the call's
// error.
func eachWay(t *testing.T, s *instance, selector string, test func(t *testing.T, call func(ctx context.Context) error)) {
	overAll(t, func(t *testing.T, p protocol) {
		test(t, func(ctx context.Context) error {
			recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Selectors: []string{selector}})
			for {
				if _, err := recv(); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
	})
	for name, run := range unaryCalls {
		for way, o := range unaryOptions {
			t.Run(name+" "+way, func(t *testing.T) {
				test(t, func(ctx context.Context) error { return run(ctx, t, s, selector, o...) })
			})
		}
	}
}

// While selectors are matched that take too long to end, blocks are applied, others are
// served, and what nobody waits for any more ends.
func TestEvaluationKeepsNobodyWaiting(t *testing.T) {
	src := heavySource(t)
	c := testConfig(t)
	c.EvaluationTime = time.Hour
	c.EvaluationBytes = 1 << 30
	s := startFed(t, c, src)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	canary := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{"canary"}})
	until(t, canary, isSynced)
	running := func() float64 { return s.metric(t, "promgrpc_server_evaluations") }
	const callers = 4
	eachWay(t, s, heavySelector(c), func(t *testing.T, call func(context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, callers)
		for range callers {
			go func() { ended <- call(ctx) }()
		}
		waiting := func() float64 { return s.metric(t, "promgrpc_server_evaluations_waiting") }
		require.Eventually(t, func() bool { return running()+waiting() == callers }, patience, time.Millisecond)

		at := now()
		src.write(point{series: "canary", t: at, v: 1}, point{series: `up{path="!new"}`, t: at, v: 1})
		seen := fmt.Sprintf("canary 1 @%d", at)
		until(t, canary, func(r *getResponse) bool { return len(lines(r)) > 0 && lines(r)[0] == seen })
		require.Equal(t, []string{seen}, lines(all(t, s.call(t, &getRequest{Selectors: []string{"canary"}}))...))
		values, err := connectClient(t, s.RPCAddr().String(), false).
			GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "path", Selectors: []string{`{path=~"!n.w"}`}}))
		require.NoError(t, err)
		require.Equal(t, []string{"!new"}, values.Msg.GetValues())

		require.Empty(t, ended, "all of this was while they ran")
		cancel()
		for range callers {
			requireCode(t, connect.CodeCanceled, <-ended)
		}
		require.Eventually(t, func() bool { return running()+waiting() == 0 }, patience, time.Millisecond)
	})
}

// An evaluation that runs for too long is given up. Until then the client is waiting
// for the server, so that it is not cut off for taking nothing.
func TestEvaluationIsGivenUp(t *testing.T) {
	src := heavySource(t)
	c := testConfig(t)
	c.EvaluationTime = 2 * time.Second
	c.StallTimeout = c.EvaluationTime * 3 / 4 // also the time for the error to be taken
	s := startFed(t, c, src)
	eachWay(t, s, heavySelector(c), func(t *testing.T, call func(context.Context) error) {
		requireLimit(t, "evaluation-time", false, call(context.Background()))
	})
}

// What all evaluations take has a limit, of which one peer gets its share.
func TestEvaluationBytes(t *testing.T) {
	src := heavySource(t)
	c := testConfig(t)
	c.EvaluationTime = time.Hour
	// The largest selector fits into the share of a peer, two of them do not.
	const instructionBytes = 200
	c.EvaluationBytes = units.Base2Bytes(instructionBytes * c.SelectorSize * 3 / 2 * 100 / int64(c.PeerShare))
	s := startFed(t, c, src)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- unaryCalls["GetLabelNames"](ctx, t, s, heavySelector(c))
	}()
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_evaluations") == 1 }, patience, time.Millisecond)
	eachWay(t, s, heavySelector(c), func(t *testing.T, call func(context.Context) error) {
		requireLimit(t, "evaluation-bytes", true, call(context.Background()))
	})
	require.Empty(t, ended)
	cancel()
	requireCode(t, connect.CodeCanceled, <-ended)
}

// A follower that takes long to match new series delays nobody else, and has all of
// them in the end.
func TestFollowerThatMatchesSlowly(t *testing.T) {
	src := newSource(t)
	src.write(point{series: `up{path="x"}`, t: now(), v: 1})
	c := testConfig(t)
	s := startFed(t, c, src)
	heavy := strings.ReplaceAll(heavySelector(c), "[!?]", "")
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		slow := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{heavy}})
		until(t, slow, isSynced)
		canary := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{`{path=~"/last.*"}`}})
		until(t, canary, isSynced)
		at := now()
		const series = 5
		var points []point
		for i := range series {
			points = append(points, point{series: fmt.Sprintf(`up{path="/%s/%d",way="%s"}`, strings.Repeat("abcdefghij/", 2), i, p.name), t: at, v: 1})
		}
		src.write(points...)
		src.write(point{series: fmt.Sprintf(`up{path="/last",way="%s"}`, p.name), t: at, v: 2})
		until(t, canary, func(r *getResponse) bool { return len(lines(r)) == 1 })
		n := 0
		until(t, slow, func(r *getResponse) bool { n += len(lines(r)); return n == series+1 })
	})
}
