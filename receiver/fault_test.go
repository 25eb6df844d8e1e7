package receiver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

func silence(*linkv1.Batch) *linkv1.Verdict { return nil }

func TestNoForwarder(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	f.stop()
	r := start(t, []string{f.addr}, nil)
	require.Eventually(t, func() bool { return strings.Contains(r.Ready().Error(), f.addr) }, 30*time.Second, time.Millisecond)
	a := r.post(t, typeV2, block("x"))
	a.mustRetry(t, "forwarder "+f.addr)
	require.Equal(t, []string{"0", "0", "0"}, written(a.header))
	require.Error(t, r.Ready())
	ready := r.do(t, "GET", "/-/ready", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, ready.code)
	require.Contains(t, ready.body, f.addr)
	require.Equal(t, http.StatusOK, r.do(t, "GET", "/-/healthy", "", nil).code)

	// It comes up at last.
	back := newForwarder(t, f.addr)
	r.waitFor(t, back.addr)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV2, block("x")).code)
	require.NoError(t, r.Ready())
}

func TestForwarderDiesBeforeItsVerdict(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	f.set(silence)
	r := startWith(t, nil, f)
	answers := make(chan answer)
	for range 5 {
		go func() { answers <- r.tryPost(block("x")) }()
	}
	require.Eventually(t, func() bool { return len(f.got()) == 5 }, 30*time.Second, 5*time.Millisecond)
	f.kill()
	for range 5 {
		a := <-answers
		a.mustRetry(t, "was lost before it answered")
		require.Equal(t, []string{"0", "0", "0"}, written(a.header))
	}
}

func TestForwarderDoesNotAnswerInTime(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	held := make(chan *linkv1.Batch, 1)
	f.set(func(b *linkv1.Batch) *linkv1.Verdict { held <- b; return nil })
	r := startWith(t, func(c *Config) { c.ForwarderTimeout = 50 * time.Millisecond }, f)
	r.post(t, typeV2, block("x")).mustRetry(t, "did not answer in time")

	// Its verdict comes late and is nobody's: the next gets its own.
	late := <-held
	f.set(func(b *linkv1.Batch) *linkv1.Verdict {
		f.sendLate(late.GetId())
		return ok(b)
	})
	require.Equal(t, http.StatusNoContent, r.post(t, typeV2, block("y")).code)
}

// sendLate sends a verdict on every connection, from within judge.
func (f *fakeForwarder) sendLate(id uint64) {
	for c := range f.conns {
		_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: &linkv1.Verdict{Id: id, Code: linkv1.Code_CODE_INVALID}}})
	}
}

func TestManyRequestsOnOneLink(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	var mu sync.Mutex
	var held []*linkv1.Batch
	f.set(func(b *linkv1.Batch) *linkv1.Verdict {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, b)
		return nil
	})
	r := startWith(t, nil, f)
	const n = 50
	type result struct {
		want string
		answer
	}
	results := make(chan result)
	for i := range n {
		go func() { results <- result{fmt.Sprint(i), r.tryPost(block(fmt.Sprint(i)))} }()
	}
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == n }, 30*time.Second, 5*time.Millisecond)
	f.mu.Lock()
	require.Len(t, f.conns, 1)
	for c := range f.conns {
		for i := len(held) - 1; i >= 0; i-- { // In another order.
			count := uint64(0)
			_, err := fmt.Sscan(string(held[i].GetBody()[2:]), &count) // A length, a literal tag, the number.
			require.NoError(t, err)
			require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: &linkv1.Verdict{
				Id: held[i].GetId(), Code: linkv1.Code_CODE_OK, SamplesWritten: count,
			}}}))
		}
	}
	f.mu.Unlock()
	for range n {
		got := <-results
		require.Equal(t, http.StatusNoContent, got.code)
		require.Equal(t, got.want, written(got.header)[0])
	}
}

func TestShutdownWaitsForVerdicts(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	f.set(func(b *linkv1.Batch) *linkv1.Verdict {
		time.Sleep(200 * time.Millisecond)
		return ok(b)
	})
	r := startWith(t, nil, f)
	answers := make(chan answer, 1)
	go func() { answers <- r.tryPost(block("x")) }()
	require.Eventually(t, func() bool { return r.inflight() == 1 }, 30*time.Second, time.Millisecond)
	start := time.Now()
	r.stop()
	require.Equal(t, http.StatusNoContent, (<-answers).code)
	require.Less(t, time.Since(start), 8*time.Second) // of the 10 that there are for it
}

func (r *running) inflight() int {
	n := 0
	for _, m := range r.pool.forwarders.All() {
		if s, _ := m.current(); s != nil {
			s.mu.Lock()
			n += len(s.waiting)
			s.mu.Unlock()
		}
	}
	return n
}

func TestSenderGoesAway(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	f.set(silence)
	r := startWith(t, nil, f)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for len(f.got()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/", bytes.NewReader(block("x")))
	require.NoError(t, err)
	req.Header.Set("Content-Type", typeV1)
	resp, err := r.client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool { return r.inflight() == 0 }, 30*time.Second, time.Millisecond)
}
