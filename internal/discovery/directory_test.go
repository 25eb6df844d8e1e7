package discovery

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/backoff"
)

func instances(ids ...string) []Instance {
	var set []Instance
	for _, id := range ids {
		set = append(set, Instance{ID: id, Address: id + ":1"})
	}
	return set
}

func TestKeeper(t *testing.T) {
	type step struct {
		after  time.Duration
		answer []Instance
		failed bool
		want   []Instance
	}
	const soon, late = time.Second, Grace
	moved := []Instance{{ID: "a", Address: "moved:1"}}
	renamed := []Instance{{ID: "renamed", Address: "a:1"}}
	cases := map[string][]step{
		"one leaves at once": {
			{0, instances("a", "b"), false, instances("a", "b")},
			{late, instances("b"), false, instances("b")},
		},
		"in the order of names, once each": {
			{0, instances("c", "a", "b", "a"), false, instances("a", "b", "c")},
		},
		"all leave after the grace": {
			{0, instances("a", "b"), false, instances("a", "b")},
			{late, nil, false, instances("a", "b")},
			{late - soon, nil, false, instances("a", "b")},
			{soon, nil, false, nil},
			{soon, nil, false, nil},
			{soon, instances("a"), false, instances("a")},
		},
		"they come back one by one": {
			{0, instances("a", "b"), false, instances("a", "b")},
			{late, nil, false, instances("a", "b")},
			{soon, instances("b"), false, instances("a", "b")},
			{soon, instances("a", "b"), false, instances("a", "b")},
			{late, instances("a"), false, instances("a")},
		},
		"after a failure nothing is dropped for a while": {
			{0, instances("a", "b"), false, instances("a", "b")},
			{late, nil, true, nil},
			{late, nil, true, nil},
			{soon, instances("c"), false, instances("a", "b", "c")},
			{late, instances("c"), false, instances("c")},
		},
		"nothing known at first": {
			{0, nil, true, nil},
			{0, nil, false, nil},
			{0, instances("a"), false, instances("a")},
		},
		"moved": {
			{0, instances("a"), false, instances("a")},
			{0, nil, true, nil},
			{soon, moved, false, moved},
		},
		"renamed": {
			{0, instances("a"), false, instances("a")},
			{0, nil, true, nil},
			{soon, renamed, false, renamed},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			var k keeper
			for i, s := range steps {
				now = now.Add(s.after)
				if s.failed {
					k.failed(now)
					continue
				}
				require.Equal(t, s.want, k.answered(s.answer, now), "step %d", i)
				if now.Before(k.until) {
					require.LessOrEqual(t, now.Add(k.patience(time.Hour, now)), k.until.Add(time.Second))
				} else {
					require.Equal(t, time.Hour, k.patience(time.Hour, now))
				}
			}
		})
	}
}

// A directory that holds its answer for long does not lengthen the grace.
func TestDirectoryEndsTheGraceInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		known := true
		d := directory{
			wait: time.Hour, pause: time.Millisecond, hurry: time.Minute, logger: slog.New(slog.DiscardHandler),
			lookup: func(ctx context.Context, wait time.Duration) ([]Instance, error) {
				if known {
					known = false
					return instances("a"), nil
				}
				if wait == time.Hour {
					return nil, nil
				}
				return nil, backoff.Sleep(ctx, wait)
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := newFeed()
		done := make(chan struct{})
		go func() { defer close(done); d.watch(ctx, f) }()
		require.Equal(t, instances("a"), <-f.ch)
		require.Empty(t, <-f.ch)
		require.InDelta(t, Grace.Seconds(), time.Since(began).Seconds(), 1)
		cancel()
		<-done
		_, open := <-f.ch
		require.False(t, open)
	})
}

func TestDirectoryBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		d := directory{
			wait: time.Hour, pause: time.Hour, hurry: time.Hour, logger: slog.New(slog.DiscardHandler),
			lookup: func(context.Context, time.Duration) ([]Instance, error) {
				asked++
				return nil, errors.New("away")
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := newFeed()
		d.watch(ctx, f)
		_, open := <-f.ch
		require.False(t, open, "nothing is known, and that is not an empty set")
		require.Greater(t, asked, 10)
		require.Less(t, asked, 60)
	})
}
