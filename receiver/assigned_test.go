package receiver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/receiver/assign"
)

// sender posts from an address of its own, by a connection for each request.
type sender struct {
	running
	name string
}

func (r *running) senders(n int) (all []*sender) {
	for i := range n {
		from := net.IPv4(127, 0, 0, byte(i+1))
		s := &sender{running: *r, name: from.String()}
		s.client = &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext,
		}}
		all = append(all, s)
	}
	return all
}

// send sends the name of the sender until it is stored.
func (s *sender) send(t *testing.T, header ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return s.try(http.MethodPost, "/api/v1/write", typeV1, bytes.NewReader(block(s.name)), header...).code == http.StatusNoContent
	}, 30*time.Second, time.Millisecond)
}

// from returns who sent what the forwarder got, each once, and forgets that.
func (f *fakeForwarder) from(t *testing.T) (names []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.batches {
		name, err := snappy.Decode(nil, b.GetBody())
		require.NoError(t, err)
		names = append(names, string(name)+b.GetTenant().GetValue())
	}
	f.batches = nil
	slices.Sort(names)
	return slices.Compact(names)
}

// several are forwarders.
func several(t *testing.T, n int) (all []*fakeForwarder) {
	for range n {
		all = append(all, newForwarder(t, "127.0.0.1:0"))
	}
	return all
}

// sent returns which senders each forwarder has after all have sent.
func sent(t *testing.T, senders []*sender, forwarders []*fakeForwarder) (got [][]string) {
	t.Helper()
	for _, s := range senders {
		s.send(t)
	}
	for _, f := range forwarders {
		got = append(got, f.from(t))
	}
	return got
}

func eachOf(t *testing.T, test func(t *testing.T, n int)) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d forwarders", n), func(t *testing.T) {
			t.Parallel()
			test(t, n)
		})
	}
}

// A sender goes to one forwarder, and each forwarder has some of the senders.
func TestSendersAreShared(t *testing.T) {
	eachOf(t, func(t *testing.T, n int) {
		forwarders := several(t, n)
		r := startWith(t, nil, forwarders...)
		senders := r.senders(60)
		got := sent(t, senders, forwarders)
		total := 0
		for i := range got {
			require.NotEmpty(t, got[i])
			total += len(got[i])
		}
		require.Equal(t, len(senders), total, "each sender is at one forwarder")
		for range 3 {
			require.Equal(t, got, sent(t, senders, forwarders))
		}
		another := startWith(t, nil, forwarders...)
		require.Equal(t, got, sent(t, another.senders(60), forwarders), "at every receiver the same")
		require.Zero(t, testutil.ToFloat64(r.pool.metrics.moved))
	})
}

// Tenants at one address are senders of their own.
func TestTenantsAreShared(t *testing.T) {
	forwarders := several(t, 2)
	r := startWith(t, func(c *Config) { c.TenantLabel = "tenant" }, forwarders...)
	s := r.senders(1)[0]
	for range 2 {
		for i := range 40 {
			s.send(t, "X-Scope-OrgID", fmt.Sprint("t", i))
		}
	}
	one, two := forwarders[0].from(t), forwarders[1].from(t)
	require.NotEmpty(t, one)
	require.NotEmpty(t, two)
	require.Len(t, slices.Concat(one, two), 40, "each tenant is at one forwarder")
}

// The senders of a forwarder that dies go to others, and those of others stay. When it is
// back it gets them back, once it has been there for a while.
func TestAnotherForwarderTakesOver(t *testing.T) {
	eachOf(t, func(t *testing.T, n int) {
		forwarders := several(t, n)
		r := startWith(t, nil, forwarders...)
		senders := r.senders(40)
		// The clock counts from when they were connected long ago.
		for _, f := range r.pool.forwarders.All() {
			f.mu.Lock()
			f.known = assign.New(f.instance.Address)
			f.known.Connected(time.Now().Add(-time.Hour))
			f.mu.Unlock()
		}
		own := sent(t, senders, forwarders)
		forwarders[0].kill()
		without := sent(t, senders, forwarders)
		require.Empty(t, without[0])
		for i := 1; i < n; i++ {
			require.Subset(t, without[i], own[i])
		}
		require.Equal(t, float64(len(own[0])), testutil.ToFloat64(r.pool.metrics.moved))
		require.NoError(t, r.Ready())

		forwarders[0] = newForwarder(t, forwarders[0].addr)
		r.waitFor(t, forwarders[0].addr)
		back := time.Now()
		soon := sent(t, senders, forwarders)
		if time.Since(back) < assign.SettleTime {
			require.Equal(t, without, soon)
		}
		require.Eventually(t, func() bool { return len(sent(t, senders, forwarders)[0]) > 0 }, 2*time.Minute, 100*time.Millisecond)
		require.GreaterOrEqual(t, time.Since(back), assign.SettleTime-time.Second)
		require.Equal(t, own, sent(t, senders, forwarders))
	})
}

// What a forwarder answers that cannot take a request, and whether its senders go to
// another for a while.
func TestForwarderThatIsAvoided(t *testing.T) {
	refuse := func(code linkv1.Code) func(*linkv1.Batch) *linkv1.Verdict {
		return func(*linkv1.Batch) *linkv1.Verdict { return &linkv1.Verdict{Code: code} }
	}
	for name, tc := range map[string]struct {
		judge   func(*linkv1.Batch) *linkv1.Verdict
		status  int
		outcome string
		moves   bool
	}{
		"cannot write":       {refuse(linkv1.Code_CODE_UNAVAILABLE), 503, "unavailable", true},
		"does not answer":    {silence, 503, "timeout", true},
		"is not confirmed":   {refuse(linkv1.Code_CODE_UNCONFIRMED), 503, "unconfirmed", true},
		"does not decide":    {refuse(linkv1.Code_CODE_UNDECIDED), 503, "undecided", false},
		"finds it wrong":     {refuse(linkv1.Code_CODE_INVALID), 400, "invalid", false},
		"finds it too large": {refuse(linkv1.Code_CODE_TOO_LARGE), 413, "too_large", false},
	} {
		t.Run(name, func(t *testing.T) {
			eachOf(t, func(t *testing.T, n int) {
				forwarders := several(t, n)
				r := startWith(t, func(c *Config) { c.ForwarderTimeout = 5 * time.Second }, forwarders...)
				senders := r.senders(20)
				own := sent(t, senders, forwarders)
				forwarders[0].set(tc.judge)
				is := slices.IndexFunc(senders, func(s *sender) bool { return s.name == own[0][0] })
				s := senders[is]
				require.Equal(t, tc.status, s.post(t, typeV1, block(s.name)).code)
				require.Equal(t, 1.0, testutil.ToFloat64(r.pool.metrics.forwarderUsed.WithLabelValues("", forwarders[0].addr, tc.outcome)))
				forwarders[0].from(t)
				if !tc.moves {
					require.Equal(t, tc.status, s.post(t, typeV1, block(s.name)).code)
					require.Equal(t, []string{s.name}, forwarders[0].from(t))
					return
				}
				s.send(t)
				require.Empty(t, forwarders[0].from(t))
				require.Contains(t, r.log.String(), `msg="senders of this forwarder go to another for a while" forwarder=`+forwarders[0].addr+" outcome="+tc.outcome)
				for i := 1; i < n; i++ {
					forwarders[i].from(t)
				}
				without := sent(t, senders, forwarders)
				require.Empty(t, without[0])
				for i := 1; i < n; i++ {
					require.Subset(t, without[i], own[i])
				}
			})
		})
	}
}

// A sender whose request no forwarder gets confirmed tries each once, and then stays at its
// own, where the request is.
func TestUnconfirmedEverywhere(t *testing.T) {
	eachOf(t, func(t *testing.T, n int) {
		forwarders := several(t, n)
		r := startWith(t, nil, forwarders...)
		s := r.senders(1)[0]
		s.send(t)
		own := slices.IndexFunc(forwarders, func(f *fakeForwarder) bool { return len(f.from(t)) > 0 })
		for _, f := range forwarders {
			f.always(linkv1.Code_CODE_UNCONFIRMED)
		}
		for range n {
			s.post(t, typeV1, block(s.name)).mustRetry(t, "")
		}
		for _, f := range forwarders {
			require.Len(t, f.got(), 1)
			f.from(t)
		}
		for range 5 {
			s.post(t, typeV1, block(s.name)).mustRetry(t, "")
		}
		require.Len(t, forwarders[own].got(), 5)
		forwarders[own].set(ok)
		s.send(t)
		require.Len(t, forwarders[own].got(), 6)
	})
}

// A request that was given up by its sender says nothing of the forwarder.
func TestSenderThatGoesAwayMovesNobody(t *testing.T) {
	forwarders := several(t, 2)
	r := startWith(t, nil, forwarders...)
	s := r.senders(1)[0]
	s.send(t)
	own := slices.IndexFunc(forwarders, func(f *fakeForwarder) bool { return len(f.from(t)) > 0 })
	forwarders[own].set(silence)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/", bytes.NewReader(block(s.name)))
		if err == nil {
			req.Header.Set("Content-Type", typeV1)
			var resp *http.Response
			if resp, err = s.client.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		done <- err
	}()
	require.Eventually(t, func() bool { return r.inflight() == 1 }, 30*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return r.inflight() == 0 }, 30*time.Second, time.Millisecond)
	forwarders[own].set(ok)
	forwarders[own].from(t)
	s.send(t)
	require.Equal(t, []string{s.name}, forwarders[own].from(t))
}
