package server_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// forgetful is a configuration with which logs that are dead are retired soon.
func forgetful(t testing.TB) server.Config {
	c := testConfig(t)
	c.RetentionTime = 2 * time.Second
	c.CursorWait = 100 * time.Millisecond
	return c
}

// has says whether a server has a log.
func (s *instance) has(t testing.TB, src *source) bool {
	for _, l := range askStatus(t, s).GetLogs() {
		if l.GetLogId() == src.writer.Log().ID().String() {
			return true
		}
	}
	return false
}

// moved returns a cursor with another position in a log.
func moved(t testing.TB, c string, log segment.LogID, sequence uint64) string {
	t.Helper()
	parsed, err := cursor.Parse(c)
	require.NoError(t, err)
	for i := range parsed.Positions {
		if parsed.Positions[i].Log == log {
			parsed.Positions[i].Sequence = sequence
			return parsed.String()
		}
	}
	require.Fail(t, "the cursor has no position there")
	return ""
}

func gapsIn(responses []*getResponse) (gaps []*metricsv1.Gap) {
	for _, r := range responses {
		if r.GetGap() != nil {
			gaps = append(gaps, r.GetGap())
		}
	}
	return gaps
}

// A log whose forwarder is gone, and all of which is beyond the retention, goes, at a
// server and at its relay. Cursors work on, wherever they come from: a client is told
// what it missed, once, and gets nothing twice.
func TestDeadLogIsRetired(t *testing.T) {
	live, dead := newSource(t), newSource(t)
	defer writeOn(t, live)()
	for i := range int64(3) {
		dead.write(point{series: "dead", t: i + 1, v: 1})
	}
	config := forgetful(t)
	s := start(t, config)
	live.feed(s.Server)
	stop := dead.feed(s.Server)
	s.await(t, live, dead)
	keeps := startFed(t, testConfig(t), live, dead)
	relay := startRelay(t, forgetful(t), s)
	relay.await(t, live, dead)
	complete := lastCursor(all(t, s.call(t, &getRequest{})))
	log := dead.writer.Log().ID()
	lagging := moved(t, complete, log, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	follower := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true})
	until(t, follower, isSynced)

	stop()
	for _, i := range []*instance{s, relay} {
		require.Eventually(t, func() bool { return !i.has(t, dead) }, patience, 10*time.Millisecond)
	}
	require.True(t, s.has(t, live))
	require.True(t, keeps.has(t, dead))
	require.NoDirExists(t, filepath.Join(config.StoragePath, log.String()))
	require.Contains(t, s.log.String(), "log retired")
	var err error
	for err == nil {
		_, err = follower()
	}
	requireCode(t, connect.CodeUnavailable, err)
	resumed := all(t, s.call(t, &getRequest{Start: after(detail[*metricsv1.StreamInterrupted](t, err).GetCursor())}))
	require.Empty(t, gapsIn(resumed), "the follower has all of it")

	stranger := startFed(t, forgetful(t), live)
	only := []string{`dead`}
	overAll(t, func(t *testing.T, p protocol) {
		call := func(i *instance, c string) []*getResponse {
			return all(t, p.open(t, ctx, i.RPCAddr().String(), &getRequest{Selectors: only, Start: after(c)}))
		}
		for _, i := range []*instance{s, relay} {
			got := call(i, complete)
			require.Empty(t, gapsIn(got))
			require.Empty(t, gapsIn(call(stranger, lastCursor(got))), "a replica that never had it believes the cursor")
			require.Empty(t, lines(call(keeps, lastCursor(got))...), "nothing twice at one that still has it")

			got = call(i, lagging)
			gaps := gapsIn(got)
			require.Len(t, gaps, 1)
			require.Equal(t, log.String(), gaps[0].GetLogId())
			require.Equal(t, []uint64{1, 4}, []uint64{gaps[0].GetAfterSequence(), gaps[0].GetNextSequence()})
			require.Empty(t, gapsIn(call(i, lastCursor(got))), "it was told")
			require.Empty(t, lines(call(keeps, lastCursor(got))...))
		}
		got := call(stranger, complete)
		require.Len(t, gapsIn(got), 1)
		require.Zero(t, gapsIn(got)[0].GetNextSequence(), "it cannot know whether there was more")
		require.Empty(t, gapsIn(call(stranger, lastCursor(got))))
		require.Empty(t, lines(call(keeps, lastCursor(got))...))
	})

	// After a restart the same is known, and a log may come back.
	s.stop()
	s = start(t, config)
	live.feed(s.Server)
	s.await(t, live)
	got := all(t, s.call(t, &getRequest{Selectors: only, Start: after(lagging)}))
	require.Len(t, gapsIn(got), 1)
	dead.write(point{series: "dead", t: 4, v: 4})
	dead.feed(s.Server)
	s.await(t, dead)
	require.Equal(t, []string{"dead 4 @4"}, lines(all(t, s.call(t, &getRequest{Selectors: only, Start: after(lastCursor(got))}))...))
	require.Equal(t, []string{"dead 4 @4"}, lines(all(t, s.call(t, &getRequest{Selectors: only, Start: after(withoutLog(t, complete, log))}))...),
		"what was there before was beyond the retention")
}

// withoutLog returns a cursor without the position in a log.
func withoutLog(t testing.TB, c string, log segment.LogID) string {
	t.Helper()
	parsed, err := cursor.Parse(c)
	require.NoError(t, err)
	rest := cursor.Cursor{Since: parsed.Since}
	for _, p := range parsed.Positions {
		if p.Log != log {
			rest.Positions = append(rest.Positions, p)
		}
	}
	return rest.String()
}

// Logs that are dead give their places to one that lives, and cursors that name all of
// them go on.
func TestDeadLogsGiveTheirPlaces(t *testing.T) {
	config := forgetful(t)
	config.RetentionTime = time.Second
	s := start(t, config)
	var stops []func()
	for range cursor.MaxLogs {
		src := newSource(t)
		src.write(point{series: "a", t: now(), v: 1})
		stops = append(stops, src.feed(s.Server))
		s.await(t, src)
	}
	full := lastCursor(all(t, s.call(t, &getRequest{})))
	for _, stop := range stops {
		stop()
	}
	src := newSource(t)
	src.write(point{series: "b", t: now(), v: 1})
	src.feed(s.Server)
	require.Eventually(t, func() bool { return s.has(t, src) }, patience, 10*time.Millisecond)
	s.await(t, src)
	overAll(t, func(t *testing.T, p protocol) {
		got := all(t, p.open(t, t.Context(), s.RPCAddr().String(), &getRequest{Start: after(full)}))
		require.Len(t, lines(got...), 1)
		require.Empty(t, gapsIn(got))
		at, err := cursor.Parse(lastCursor(got))
		require.NoError(t, err)
		require.LessOrEqual(t, len(at.Positions), cursor.MaxLogs)
		_, ok := at.Of(src.writer.Log().ID())
		require.True(t, ok)
	})
}

// Without a retention by time a dead log stays, and so does one that is fed, however old.
func TestWhatIsNotRetired(t *testing.T) {
	old := newSource(t)
	block := old.block(point{series: "a", t: 1, v: 1})
	block.Time = 1
	old.append(block)
	config := forgetful(t)
	config.RetentionTime = 0
	keeps := start(t, config)
	stop := old.feed(keeps.Server)
	keeps.await(t, old)
	stop()
	fed := startFed(t, forgetful(t), old)
	time.Sleep(2 * time.Second) // in which it would go
	require.True(t, keeps.has(t, old))
	require.True(t, fed.has(t, old))
}
