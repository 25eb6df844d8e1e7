package forwarder

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestWindowForgetsReasons keeps the reasons of the newest answers within a bound,
// and of the others all but that, however often the window is filled.
func TestWindowForgetsReasons(t *testing.T) {
	const size, enough = 10, 4
	reasons := []string{strings.Repeat("x", 100)}
	w := newRepeatWindow(size, enough*segment.ErrorBytes(reasons))
	verdict := segment.Verdict{Code: uint8(invalid), Rejected: 7, Errors: reasons}
	good := segment.Verdict{Code: uint8(ok)}
	for i := range 5 * size {
		a := answer{place: place{sequence: uint64(i)}, verdict: verdict}
		if i%7 == 0 {
			a.verdict = good
		}
		w.add(digest{byte(i)}, a)
		with, held := 0, 0
		for j := i; j >= max(0, i-size+1); j-- {
			got, _ := w.find(digest{byte(j)})
			switch {
			case got.sequence != uint64(j):
				t.Fatalf("answer %d is %v", j, got)
			case j%7 == 0:
				if len(got.verdict.Errors) > 0 {
					t.Errorf("answer %d was good, and is %v", j, got)
				}
			case with < enough:
				with++
				if !slices.Equal(got.verdict.Errors, reasons) {
					t.Errorf("after %d, answer %d has no reasons: %v", i, j, got)
				}
			case !slices.Equal(got.verdict.Errors, []string{reasonsForgotten}) || got.verdict.Rejected != 7:
				t.Errorf("after %d, answer %d is %v", i, j, got)
			}
		}
		for _, e := range w.ring {
			held += segment.ErrorBytes(e.answer.verdict.Errors)
		}
		if held != w.reasons || held > w.mostReasons {
			t.Errorf("after %d, reasons take %d, counted are %d of %d", i, held, w.reasons, w.mostReasons)
		}
	}
}

// TestRefusalsTakeLittle has very many requests that are refused in part, each for
// as many reasons as are told. What is kept of them is bounded, after a restart too.
func TestRefusalsTakeLittle(t *testing.T) {
	c := testConfig(t.TempDir())
	r := start(t, c)
	s := r.sender()
	const bad, pipelined = 10, 16
	name := strings.Repeat("\xff", 200)
	const requests = 2 * windowReasons / remotewrite.MaxErrorBytes
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	body := func(i int) []byte {
		list := []ts{one(float64(i), int64(i), "__name__", "good")}
		for j := range bad {
			list = append(list, one(1, 5, "__name__", "bad", name, fmt.Sprint(j)))
		}
		return bodyOf(t, v1, list...)
	}
	before := heap()
	for i := 0; i < requests; i += pipelined {
		for j := range pipelined {
			s.post(v1, body(i+j))
		}
		for range pipelined {
			if v := s.verdict(); v.GetCode() != invalid || v.GetRejected() != bad {
				t.Fatalf("verdict: %v", v)
			}
		}
	}
	// Besides the reasons, an answer in the window takes some two hundred bytes.
	most := uint64(windowReasons + requests*400 + 16<<20)
	if got := heap(); got > before+most {
		t.Errorf("%d refusals take %d bytes", requests, got-before)
	}
	oldest, newest := body(0), body(requests-1)
	r.stop()
	r = start(t, c)
	s = r.sender()
	if got := heap(); got > before+most {
		t.Errorf("after a restart, %d refusals take %d bytes", requests, got-before)
	}
	if v := s.send(v1, oldest); v.GetRejected() != bad || !slices.Equal(v.GetErrors(), []string{reasonsForgotten}) {
		t.Errorf("the oldest: %v", v)
	}
	if v := s.send(v1, newest); v.GetRejected() != bad || len(v.GetErrors()) < 2 {
		t.Errorf("the newest: %v", v)
	}
}
