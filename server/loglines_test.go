package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/throttle"
)

// requireFewLines checks that a message was logged since a time no more often than what
// others can cause may be.
func (s *instance) requireFewLines(t *testing.T, message string, since time.Time) {
	t.Helper()
	written := strings.Count(s.log.String(), `msg="`+message+`"`)
	intervals := 1 + int(time.Since(since)/(10*time.Second))
	most := throttle.Burst * intervals
	require.Positive(t, written, message)
	require.LessOrEqual(t, written, most, message)
}

// A peer on a link cannot flood the server's log lines, whether it sends gaps or
// connects again and again.
func TestForwarderDoesNotFillTheLog(t *testing.T) {
	const gaps, connections = 2000, 100
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := start(t, testConfig(t))
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	began := time.Now()
	for range connections {
		c, _, err := link.Dial(context.Background(), s.LinkAddr().String(), hello, link.Options{})
		require.NoError(t, err)
		for range gaps / connections {
			gap := &linkv1.Frame_Gap{Gap: &linkv1.Gap{AfterSequence: 1, NextSequence: 3}}
			require.NoError(t, c.Send(&linkv1.Frame{Kind: gap}))
		}
		require.NoError(t, c.CloseWith("done"))
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_gaps_total") == gaps }, patience, 10*time.Millisecond)
	for _, message := range []string{"forwarder connected", "forwarder disconnected", "blocks are missing for good"} {
		s.requireFewLines(t, message, began)
	}
}

// Nor can clients whose streams all meet the same gap.
func TestStreamsWithGapsDoNotFillTheLog(t *testing.T) {
	const calls = 10
	s, _ := startDamaged(t, newSource(t))
	began := time.Now()
	overAll(t, func(t *testing.T, p protocol) {
		for range calls {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			until(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: sinceStart()}), func(r *getResponse) bool { return r.GetEnd() != nil })
		}
	})
	require.Equal(t, float64(calls*len(protocols)), s.metric(t, "promgrpc_server_stream_gaps_total"))
	s.requireFewLines(t, "stream has a gap", began)
}
