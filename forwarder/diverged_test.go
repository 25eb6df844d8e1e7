package forwarder

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
)

// serveClaims claims for every log that it is far ahead of it, sends nothing, and counts
// the logs that it is told of.
func serveClaims(t *testing.T, trust link.Trust) (address string, logs func() int) {
	t.Helper()
	l, err := link.Listen("127.0.0.1:0", link.Options{Logger: discard, Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	told := make(chan map[segment.LogID]bool, 1)
	told <- map[segment.LogID]bool{}
	go func() {
		ended <- l.Run(ctx, func(_ context.Context, c *link.Conn, hello *linkv1.Hello) error {
			seen := <-told
			seen[segment.LogID(hello.GetLogId())] = true
			told <- seen
			if err := c.Welcome(&linkv1.Welcome{Position: &linkv1.Position{LogId: hello.GetLogId(), Sequence: 1 << 60}}); err != nil {
				return err
			}
			for {
				if _, err := c.Receive(); err != nil {
					return err
				}
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), func() int {
		seen := <-told
		defer func() { told <- seen }()
		return len(seen)
	}
}

// clockOf gives a forwarder a clock that the test sets forward.
func clockOf(offset *atomic.Int64) func(*Forwarder) {
	return func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	}
}

// TestClaimsOfAStranger begin one log, not log after log. True servers are not concerned.
func TestClaimsOfAStranger(t *testing.T) {
	claims, logs := serveClaims(t, link.Trust{})
	p := serveReplica(t, t.TempDir(), "127.0.0.1:0")
	c := testConfig(t.TempDir())
	c.Server = p.addr + "," + claims
	var ahead atomic.Int64
	r := start(t, c, clockOf(&ahead))
	m := r.in.metrics
	eventually(t, "a log for the first claim", func() bool { return testutil.ToFloat64(m.renewed) == 1 })
	for _, later := range []time.Duration{2 * renewEvery, doubtFor - renewEvery} {
		ahead.Store(int64(later))
		before := testutil.ToFloat64(m.doubted)
		eventually(t, "further claims are not believed", func() bool { return testutil.ToFloat64(m.doubted) > before })
	}
	if n := testutil.ToFloat64(m.renewed); n != 1 {
		t.Errorf("%v logs were begun", n)
	}
	if n := logs(); n != 2 {
		t.Errorf("the stranger was told of %d logs, want the first and the one after it", n)
	}
	r.sender().fill(0, 10)
	l, _ := r.appender.log()
	eventually(t, "the server has all", func() bool { return p.at(l.ID()) == 10 })
	ahead.Store(int64(doubtFor + time.Hour))
	eventually(t, "a log a day later", func() bool { return testutil.ToFloat64(m.renewed) == 2 })
}

// TestClaimsOfAServer that has the role are believed at once, and each time after twice as
// long as before, since no server can have more of a log that was just begun: the places of
// all servers are not used up by one that was taken over.
func TestClaimsOfAServer(t *testing.T) {
	private, err := link.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := private.Trust(access.Server, access.Forwarder)
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(t.TempDir())
	c.Private = private
	c.Server, _ = serveClaims(t, trust)
	var ahead atomic.Int64
	r := start(t, c, clockOf(&ahead))
	m := r.in.metrics
	for n, pause := 1.0, renewEvery; n <= 3; n, pause = n+1, 2*pause {
		eventually(t, "a log for a claim", func() bool { return testutil.ToFloat64(m.renewed) == n })
		ahead.Add(int64(pause / 2))
		doubted := testutil.ToFloat64(m.doubted)
		eventually(t, "a claim that comes too soon", func() bool { return testutil.ToFloat64(m.doubted) >= doubted+1 })
		if got := testutil.ToFloat64(m.renewed); got != n {
			t.Fatalf("%v logs were begun, want %v", got, n)
		}
		ahead.Add(int64(pause / 2))
	}
}

// TestClaimThatIsNotKept of a log that has ended keeps no other server from giving back
// what was lost.
func TestClaimThatIsNotKept(t *testing.T) {
	const before = 20
	c, p, old := stopped(t, before)
	cutBack(t, c.StoragePath, old, 100)
	claims, logs := serveClaims(t, link.Trust{})
	c.Server = claims + "," + p.addr
	r := start(t, c, func(f *Forwarder) { f.appender.ended.turn = 200 * time.Millisecond })
	eventually(t, "the stranger has its turn", func() bool { return logs() >= 2 })
	q := serveReplica(t, p.dir, p.addr)
	eventually(t, "what was lost is fetched", func() bool { return r.appender.ended.all()[0].log().Last() == before })
	eventually(t, "server has the old log", func() bool { return q.at(old) == before })
}
