package forwarder

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/segment"
)

// answered is a confirming whose answers a test looks at.
type answered struct {
	*confirming
	t    *testing.T
	gone map[segment.LogID]bool

	mu   sync.Mutex
	jobs []*job
}

func newAnswered(t *testing.T, servers int, timeout time.Duration) *answered {
	m := newMetrics(prometheus.NewRegistry(), func() int64 { return 0 })
	a := &answered{confirming: newConfirming(servers, timeout, discard, m), t: t, gone: map[segment.LogID]bool{}}
	a.answer = func(jobs []*job) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.jobs = append(a.jobs, jobs...)
	}
	a.expired = func(id segment.LogID) bool { return a.gone[id] }
	a.use(*logA)
	t.Cleanup(a.end)
	return a
}

var logA, logB = &segment.LogID{1}, &segment.LogID{2}

// store holds the answer to a batch with an id, which waits for a block.
func (a *answered) store(id uint64, on place) {
	a.hold([]*job{{
		batch: &linkv1.Batch{Id: id}, verdict: &linkv1.Verdict{Code: linkv1.Code_CODE_OK},
		answer: answer{place: on},
	}})
}

// take returns the ids that were answered since the last time, and forgets them.
func (a *answered) take(code linkv1.Code) []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []uint64
	for _, j := range a.jobs {
		require.Equal(a.t, code, j.verdict.GetCode(), "batch %d", j.batch.GetId())
		ids = append(ids, j.batch.GetId())
	}
	a.jobs = nil
	slices.Sort(ids)
	return ids
}

// server joins for a log, and confirms it by a function.
func (a *answered) server(name string, log *segment.LogID) (confirm func(uint64), leave func()) {
	cl := a.join(name, *log, func() uint64 { return written }, nil)
	return func(durable uint64) { cl.confirm(&linkv1.Position{Sequence: 1000, Durable: durable}) }, cl.leave
}

// written is the last block of each log.
const written = 500

// Answers go out as blocks are confirmed, whatever order they came in.
func TestConfirmedInAnyOrder(t *testing.T) {
	a := newAnswered(t, 1, time.Hour)
	confirm, _ := a.server("s", logA)
	a.store(1, place{logA, 3})
	a.store(2, place{logA, 1})
	a.store(3, place{logA, 2})
	a.store(4, place{logA, 2})
	a.store(5, place{logA, 5})
	require.Empty(t, a.take(ok))
	confirm(2)
	require.Equal(t, []uint64{2, 3, 4}, a.take(ok))
	a.store(6, place{logA, 2})
	require.Equal(t, []uint64{6}, a.take(ok), "a repeat of what is confirmed")
	confirm(4)
	require.Equal(t, []uint64{1}, a.take(ok))
	confirm(9)
	require.Equal(t, []uint64{5}, a.take(ok))
	require.Empty(t, a.waiting)
	require.Empty(t, a.held)
}

// Logs are confirmed each on its own.
func TestConfirmedByLog(t *testing.T) {
	a := newAnswered(t, 1, time.Hour)
	confirmA, _ := a.server("s", logA)
	confirmB, _ := a.server("s", logB)
	a.store(1, place{logA, 1})
	a.store(2, place{logB, 7})
	a.store(3, place{logA, 4})
	confirmA(3)
	require.Equal(t, []uint64{1}, a.take(ok))
	confirmB(8)
	require.Equal(t, []uint64{2}, a.take(ok))
	confirmA(9)
	require.Equal(t, []uint64{3}, a.take(ok))

	a.store(6, place{nil, 0})
	require.Equal(t, []uint64{6}, a.take(ok), "of no block")
	a.store(7, place{logB, 9})
	require.Empty(t, a.take(ok))
	a.gone[*logB] = true
	a.store(8, place{logB, 9})
	require.Equal(t, []uint64{8}, a.take(ok), "nothing is kept of it")
}

// Servers that join count with what they have, and what those that left had confirmed does
// not count any more.
func TestConfirmedByServersThatChange(t *testing.T) {
	a := newAnswered(t, 2, time.Hour)
	first, leave := a.server("first", logA)
	first(5)
	a.store(1, place{logA, 3})
	again, _ := a.server("first", logA)
	again(5)
	require.Empty(t, a.take(ok), "one server twice")
	second, _ := a.server("second", logA)
	require.Empty(t, a.take(ok))
	second(3)
	require.Equal(t, []uint64{1}, a.take(ok))
	a.store(2, place{logA, 4})
	leave()
	second(4)
	require.Equal(t, []uint64{2}, a.take(ok), "it has another connection")
	require.Equal(t, 2.0, testutil.ToFloat64(a.metrics.ackServers))
}

// What is not confirmed in time is answered so, and says what is missing. The rest is
// answered when it is confirmed.
func TestUnconfirmed(t *testing.T) {
	a := newAnswered(t, 1, 50*time.Millisecond)
	confirm, leave := a.server("s", logA)
	for i := range uint64(100) {
		a.store(i+1, place{logA, 100 - i})
	}
	confirm(50)
	early := a.take(ok)
	require.Len(t, early, 50)
	eventually(t, "given up", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.jobs) == 50
	})
	require.Contains(t, a.jobs[0].verdict.GetErrors()[0], "block 100 of log "+logA.String()+" is not on the disks of 1 servers (--ack.servers), of which 1 are connected")
	a.take(linkv1.Code_CODE_UNCONFIRMED)
	require.Empty(t, a.waiting)
	require.Empty(t, a.held)
	a.store(200, place{logA, 60})
	confirm(100)
	require.Equal(t, []uint64{200}, a.take(ok), "a repeat waits anew")
	leave()
	require.ErrorContains(t, a.remark(), "0 of the 1 servers")
}

// Once no server will confirm anything, nobody waits.
func TestConfirmingEnds(t *testing.T) {
	a := newAnswered(t, 1, time.Hour)
	confirm, _ := a.server("s", logA)
	confirm(1)
	confirm(written + 1)
	a.store(1, place{logA, written + 1})
	a.end()
	a.store(2, place{logA, written + 2})
	require.Equal(t, []uint64{1, 2}, a.take(linkv1.Code_CODE_UNCONFIRMED))
	a.store(3, place{logA, 1})
	require.Equal(t, []uint64{3}, a.take(ok))
}
