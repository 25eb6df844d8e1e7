package forwarder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// newestSegment of a log in a store.
func newestSegment(t *testing.T, store string, id segment.LogID) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, id.String(), "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments of %s: %v", store, err)
	}
	return slices.Max(files)
}

// cutBack takes the last bytes of a log from a store.
func cutBack(t *testing.T, store string, id segment.LogID, bytes int64) {
	t.Helper()
	for bytes > 0 {
		newest := newestSegment(t, store, id)
		info, err := os.Stat(newest)
		if err != nil {
			t.Fatal(err)
		}
		if bytes < info.Size() {
			err = os.Truncate(newest, info.Size()-bytes)
		} else {
			err = os.Remove(newest)
		}
		if err != nil {
			t.Fatal(err)
		}
		bytes -= info.Size()
	}
}

// TestForwarderComesBackWithLess has a forwarder lose the end of its log, take
// more requests while no server is there, and then meet servers that have what it
// lost, or a part of it. Everything that was answered is at every server, and a
// log is the same everywhere.
func TestForwarderComesBackWithLess(t *testing.T) {
	for _, policy := range []string{"always", "interval", "never"} {
		for _, second := range []string{"has all of it", "lacks the same", "is new", "comes first and lacks more"} {
			t.Run(fmt.Sprintf("%s, the second server %s", policy, second), func(t *testing.T) {
				comesBackWithLess(t, policy, second)
			})
		}
	}
}

func comesBackWithLess(t *testing.T, policy, second string) {
	dir := t.TempDir()
	a, b := serveReplica(t, filepath.Join(dir, "a"), "127.0.0.1:0"), serveReplica(t, filepath.Join(dir, "b"), "127.0.0.1:0")
	c := testConfig(filepath.Join(dir, "forwarder"))
	c.Sync = policy
	c.SegmentSize = 16 << 10 // so that there are some
	c.Server = a.addr + "," + b.addr
	r := start(t, c)
	const before, after = 200, 50
	r.sender().fill(0, before)
	l, _ := r.appender.log()
	old := l.ID()
	for _, p := range []*replicaServer{a, b} {
		eventually(t, "server has all", func() bool { return p.at(old) == before })
	}
	r.stop()
	a.stop()
	b.stop()

	const lost = 3000
	cutBack(t, c.StoragePath, old, lost)
	switch second {
	case "lacks the same":
		cutBack(t, b.dir, old, lost)
	case "is new":
		if err := os.RemoveAll(b.dir); err != nil {
			t.Fatal(err)
		}
	case "comes first and lacks more":
		cutBack(t, b.dir, old, 2*lost)
	}
	r = start(t, c)
	if got := testutil.ToFloat64(r.in.metrics.renewed); got != 1 {
		t.Errorf("%v logs were begun", got)
	}
	s := r.sender()
	s.fill(before, before+after)
	// What the log that was cut still has is recognised.
	s.mustStore(v1, bodyOf(t, v1, one(10, 10, "__name__", "x"), one(1, 5, "__name__", "n10")))
	l, _ = r.appender.log()
	if l.ID() == old || l.Last() != after {
		t.Fatalf("log %s, before %s, ends at block %d", l.ID(), old, l.Last())
	}
	second2 := serveReplica(t, b.dir, b.addr)
	if second == "comes first and lacks more" {
		eventually(t, "second server has the new log", func() bool { return second2.at(l.ID()) == after })
	}
	first := serveReplica(t, a.dir, a.addr)
	for _, p := range []*replicaServer{first, second2} {
		eventually(t, "server has all of the old log", func() bool { return p.at(old) == before })
		eventually(t, "server has all of the new log", func() bool { return p.at(l.ID()) == after })
	}
	eventually(t, "what was lost is fetched", func() bool { return testutil.ToFloat64(r.in.metrics.fetched) > 0 })
	r.stop()
	first.stop()
	second2.stop()
	for _, id := range []segment.LogID{old, l.ID()} {
		for _, p := range []*replicaServer{a, b} {
			sameFiles(t, filepath.Join(c.StoragePath, id.String()), filepath.Join(p.dir, id.String()))
		}
	}

	// Nothing is begun once more, and the window still goes back to before.
	r = start(t, c)
	s = r.sender()
	if again, _ := r.appender.log(); again.ID() != l.ID() {
		t.Errorf("log %s was begun", again.ID())
	}
	s.fill(0, before+after)
	if l, _ := r.appender.log(); l.Last() != after {
		t.Errorf("%d blocks after the repeats", l.Last())
	}
}

// stopped returns a forwarder and a server that have so many blocks of a log, and have
// ended in good order.
func stopped(t *testing.T, blocks uint64) (Config, *replicaServer, segment.LogID) {
	t.Helper()
	dir := t.TempDir()
	p := serveReplica(t, filepath.Join(dir, "a"), "127.0.0.1:0")
	c := testConfig(filepath.Join(dir, "forwarder"))
	c.Server = p.addr
	r := start(t, c)
	r.sender().fill(0, int(blocks))
	l, _ := r.appender.log()
	eventually(t, "server has all", func() bool { return p.at(l.ID()) == blocks })
	r.stop()
	p.stop()
	return c, p, l.ID()
}

// TestServerOfAnotherPastOfAnEndedLog is told, and gets the present log.
func TestServerOfAnotherPastOfAnEndedLog(t *testing.T) {
	c, p, old := stopped(t, 20)
	if err := os.Remove(filepath.Join(c.StoragePath, old.String(), "end")); err != nil {
		t.Fatal(err)
	}
	r := start(t, c)
	r.sender().fill(20, 25)
	l, _ := r.appender.log()
	q := serveReplica(t, p.dir, p.addr, func(p *linkv1.Position) { p.Checksum++ })
	eventually(t, "server has the new log", func() bool { return q.at(l.ID()) == 5 })
	eventually(t, "the divergence is counted", func() bool {
		return testutil.ToFloat64(r.in.metrics.diverged.WithLabelValues(p.addr)) > 0
	})
	if now, _ := r.appender.log(); now.ID() != l.ID() {
		t.Error("a new log was begun for the sake of one that has ended")
	}
}

// TestEndedLogIsOpenedAgain while a server is about to give back what was lost: that
// does not count as diverged.
func TestEndedLogIsOpenedAgain(t *testing.T) {
	const before = 20
	c, p, old := stopped(t, before)
	cutBack(t, c.StoragePath, old, 100)
	r := start(t, c)
	once := sync.OnceFunc(func() {
		if err := r.appender.ended.all()[0].reopen(); err != nil {
			t.Error(err)
		}
	})
	q := serveReplica(t, p.dir, p.addr, func(p *linkv1.Position) {
		if segment.LogID(p.GetLogId()) == old {
			once()
		}
	})
	eventually(t, "server has all of the old log", func() bool { return q.at(old) == before })
	eventually(t, "what was lost is fetched", func() bool { return testutil.ToFloat64(r.in.metrics.fetched) > 0 })
	time.Sleep(500 * time.Millisecond) // in which a divergence would be told
	if n := testutil.ToFloat64(r.in.metrics.diverged.WithLabelValues(p.addr)); n != 0 {
		t.Errorf("%v servers have diverged", n)
	}
}

// TestEndedLogIsGivenUp once retention has deleted all of it: nothing of it stays open.
func TestEndedLogIsGivenUp(t *testing.T) {
	p := serveReplica(t, t.TempDir(), "127.0.0.1:0")
	c := testConfig(t.TempDir())
	c.Server = p.addr
	r := start(t, c)
	r.sender().fill(0, 20)
	l, _ := r.appender.log()
	old := l.ID()
	eventually(t, "server has all", func() bool { return p.at(old) == 20 })
	r.stop()
	if err := os.Remove(filepath.Join(c.StoragePath, old.String(), "end")); err != nil {
		t.Fatal(err)
	}
	c.RetentionTime = time.Second
	r = start(t, c)
	ended := r.appender.ended.all()
	if len(ended) != 1 {
		t.Fatalf("%d logs have ended", len(ended))
	}
	s, next := r.sender(), 20
	eventually(t, "it is given up", func() bool {
		s.fill(next, next+1) // With each new segment, retention is looked after.
		next++
		return len(r.appender.ended.all()) == 0
	})
	if _, err := ended[0].log().ReadRaw(t.Context(), 0); !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("it is open: %v", err)
	}
}
