package assign_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/receiver/assign"
)

var began = time.Unix(1_000_000, 0)

// pool are forwarders that have been connected for long.
func pool(n int) []assign.Forwarder {
	var all []assign.Forwarder
	for i := range n {
		f := assign.New(fmt.Sprintf("10.0.0.%d:8070", i+1))
		f.Connected(began.Add(-time.Hour))
		all = append(all, f)
	}
	return all
}

// senders are many.
func senders() (all []assign.Sender) {
	for i := range 10_000 {
		all = append(all, assign.SenderOf([]string{"", "tenant"}[i%2], fmt.Sprintf("10.%d.%d.7", i%7, i/7)))
	}
	return all
}

// choices are those of the senders.
func choices(all []assign.Forwarder, now time.Time) (chosen []int) {
	for _, s := range senders() {
		chosen = append(chosen, assign.Choose(s, all, now))
	}
	return chosen
}

func owns(all []assign.Forwarder) (own []int) {
	for _, s := range senders() {
		own = append(own, assign.Own(s, all))
	}
	return own
}

func countOf(chosen []int, i int) (n int) {
	for _, c := range chosen {
		if c == i {
			n++
		}
	}
	return n
}

// Each forwarder has its share of the senders, in whatever order they are named, and when
// one goes, its own senders move and no others.
func TestShares(t *testing.T) {
	for n := 1; n <= 5; n++ {
		all := pool(n)
		chosen := choices(all, began)
		for i := range all {
			require.InEpsilon(t, len(chosen)/n, countOf(chosen, i), 0.1)
		}
		slices.Reverse(all)
		for i, c := range choices(all, began) {
			require.Equal(t, chosen[i], n-1-c)
		}
		for i, own := range owns(all) {
			require.Equal(t, chosen[i], n-1-own)
		}
		slices.Reverse(all)
		all[0].Lost()
		for i, c := range choices(all, began) {
			switch {
			case n == 1:
				require.Equal(t, -1, c)
			case chosen[i] == 0:
				require.NotZero(t, c)
			default:
				require.Equal(t, chosen[i], c)
			}
		}
	}
	require.Equal(t, -1, assign.Choose(0, nil, began))
	require.Equal(t, -1, assign.Own(0, nil))
}

func TestSenders(t *testing.T) {
	a := assign.SenderOf("a", "10.0.0.1")
	require.Equal(t, a, assign.SenderOf("a", "10.0.0.1"))
	require.NotEqual(t, a, assign.SenderOf("b", "10.0.0.1"))
	require.NotEqual(t, a, assign.SenderOf("a", "10.0.0.2"))
	require.NotEqual(t, assign.SenderOf("a", "b"), assign.SenderOf("b", "a"))
}

// What happens to the first of two or three forwarders, and since when its own senders
// are at it again.
func TestRules(t *testing.T) {
	const (
		at    = assign.SettleTime // of what happens, after began
		alone = -1                // all others' are there, too
	)
	fails := func(n int) func(all []assign.Forwarder) {
		return func(all []assign.Forwarder) {
			for i := range n { // Each as soon as it is tried again.
				all[0].Answered(assign.Failed, began.Add(at-assign.AvoidTime*time.Duration(1<<(n-1)-1<<i)))
			}
		}
	}
	now := began.Add(at)
	for name, tc := range map[string]struct {
		happens func(all []assign.Forwarder)
		away    time.Duration // 0: they stay
	}{
		"nothing":       {func([]assign.Forwarder) {}, 0},
		"taken":         {func(all []assign.Forwarder) { all[0].Answered(assign.Taken, now) }, 0},
		"failed":        {fails(1), assign.AvoidTime},
		"failed twice":  {fails(2), 2 * assign.AvoidTime},
		"failed thrice": {fails(3), 4 * assign.AvoidTime},
		"many failed together": {func(all []assign.Forwarder) {
			for i := range 100 {
				all[0].Answered(assign.Failed, now.Add(time.Duration(i)))
			}
		}, assign.AvoidTime},
		"failed, taken, failed": {func(all []assign.Forwarder) {
			all[0].Answered(assign.Failed, began.Add(-time.Hour))
			all[0].Answered(assign.Taken, began)
			all[0].Answered(assign.Failed, now)
		}, assign.AvoidTime},
		"unconfirmed": {func(all []assign.Forwarder) { all[0].Answered(assign.Unconfirmed, now) }, assign.UnconfirmedTime},
		"unconfirmed, and confirmed since": {func(all []assign.Forwarder) {
			all[0].Answered(assign.Unconfirmed, now)
			all[0].Answered(assign.Taken, now)
		}, 0},
		"unconfirmed everywhere": {func(all []assign.Forwarder) {
			for i := range all {
				all[i].Answered(assign.Unconfirmed, now)
			}
		}, 0},
		"failed everywhere": {func(all []assign.Forwarder) {
			for i := range all {
				all[i].Answered(assign.Failed, now)
			}
		}, 0},
		"unconfirmed, and the others failed": {func(all []assign.Forwarder) {
			for i := range all {
				all[i].Answered([]assign.Outcome{assign.Unconfirmed, assign.Failed}[min(i, 1)], now)
			}
		}, alone},
		"came back": {func(all []assign.Forwarder) { all[0].Lost(); all[0].Connected(now) }, assign.SettleTime},
		"all came back": {func(all []assign.Forwarder) {
			for i := range all {
				all[i].Lost()
				all[i].Connected(now.Add(-time.Duration(i) * time.Millisecond))
			}
		}, 0},
		"came back, and the others failed": {func(all []assign.Forwarder) {
			all[0].Lost()
			all[0].Connected(now)
			for i := range all[1:] {
				all[i+1].Answered(assign.Failed, now)
			}
		}, alone},
		"came for the first time": {func(all []assign.Forwarder) {
			all[0] = assign.New("10.0.0.1:8070")
			all[0].Connected(now)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 2; n <= 3; n++ {
				own := choices(pool(n), began)
				all := pool(n)
				tc.happens(all)
				if tc.away == alone {
					require.Len(t, own, countOf(choices(all, now), 0))
					continue
				}
				if tc.away > 0 {
					for _, moment := range []time.Duration{0, tc.away - 1} {
						require.Zero(t, countOf(choices(all, now.Add(moment)), 0))
					}
				}
				require.Equal(t, own, choices(all, now.Add(tc.away)))
			}
		})
	}
}

// What makes a forwarder less fit is news once.
func TestNews(t *testing.T) {
	f := pool(1)[0]
	require.False(t, f.Answered(assign.Taken, began))
	require.True(t, f.Answered(assign.Unconfirmed, began))
	require.False(t, f.Answered(assign.Unconfirmed, began.Add(assign.UnconfirmedTime-1)))
	require.True(t, f.Answered(assign.Failed, began))
	require.False(t, f.Answered(assign.Failed, began.Add(assign.AvoidTime-1)))
	require.True(t, f.Answered(assign.Failed, began.Add(assign.AvoidTime)))
	require.False(t, f.Answered(assign.Taken, began))
	require.True(t, f.Answered(assign.Unconfirmed, began.Add(assign.AvoidTime)))
}

// However often it fails, a forwarder is tried again after a while.
func TestAvoidedForAWhile(t *testing.T) {
	all := pool(2)
	now := began
	for range 100 {
		require.Positive(t, countOf(choices(all, now), 0))
		all[0].Answered(assign.Failed, now)
		require.Zero(t, countOf(choices(all, now), 0))
		now = now.Add(4 * time.Minute)
	}
}
