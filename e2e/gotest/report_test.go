package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const pkg = "github.com/promgrpc/exporter/server"

// What is printed of events, each of which comes so long after the one before.
func TestReport(t *testing.T) {
	type step struct {
		after time.Duration
		event event
		says  string // before the next
	}
	for what, c := range map[string]struct {
		steps  []step
		failed int
	}{
		"a package": {[]step{
			{0, event{Action: "start", Package: pkg}, ""},
			{0, event{Action: "run", Package: pkg, Test: "TestA"}, ""},
			{0, event{Action: "output", Package: pkg, Test: "TestA", Output: "not said\n"}, ""},
			{0, event{Action: "pass", Package: pkg, Test: "TestA", Elapsed: 0.1}, ""},
			{0, event{Action: "pass", Package: pkg, Elapsed: 0.125}, "ok    server (125ms)\n"},
		}, 0},
		"cached": {[]step{
			{0, event{Action: "output", Package: pkg, Output: "ok \tserver\t(cached)\n"}, ""},
			{0, event{Action: "pass", Package: pkg}, "ok    server (0s, cached)\n"},
		}, 0},
		"slow": {[]step{
			{0, event{Action: "run", Package: pkg, Test: "TestA"}, ""},
			{0, event{Action: "pass", Package: pkg, Test: "TestA", Elapsed: 2.04}, "ok    server TestA (2s)\n"},
		}, 0},
		"silent": {[]step{
			{quiet, event{}, "  30s still compiling\n"},
			{0, event{Action: "start", Package: pkg}, ""},
			{quiet, event{}, " 1m0s server (30s)\n"},
			{0, event{Action: "run", Package: pkg, Test: "TestA"}, ""},
			{0, event{Action: "run", Package: pkg, Test: "TestA/sub"}, ""},
			{0, event{Action: "run", Package: pkg, Test: "TestB"}, ""},
			{0, event{Action: "pause", Package: pkg, Test: "TestB"}, ""},
			{quiet - 1, event{}, ""},
			{1, event{}, "1m30s server TestA/sub (30s)\n"},
			{0, event{Action: "cont", Package: pkg, Test: "TestB"}, ""},
			{quiet, event{}, " 2m0s server TestA/sub (1m0s), server TestB (30s)\n"},
		}, 0},
		"failed": {[]step{
			{0, event{Action: "run", Package: pkg, Test: "TestA"}, ""},
			{0, event{Action: "output", Package: pkg, Test: "TestA", Output: "why\n"}, ""},
			{0, event{Action: "fail", Package: pkg, Test: "TestA"}, "why\nFAIL  server TestA\n"},
			{0, event{Action: "fail", Package: pkg}, "FAIL  server\n"},
		}, 2},
		"unfinished": {[]step{
			{0, event{Action: "run", Package: pkg, Test: "TestA"}, ""},
			{0, event{Action: "output", Package: pkg, Test: "TestA", Output: "panic\n"}, ""},
			{0, event{Action: "fail", Package: pkg}, "panic\nFAIL  server\n"},
		}, 1},
		"skipped": {[]step{
			{0, event{Action: "output", Package: pkg, Test: "TestA", Output: "no such thing\n"}, ""},
			{0, event{Action: "skip", Package: pkg, Test: "TestA"}, "no such thing\nFAIL  server TestA\n"},
			{0, event{Action: "skip", Package: pkg}, ""},
		}, 1},
		"does not compile": {[]step{
			{0, event{Action: "build-output", Output: "a.go:1: wrong\n"}, "a.go:1: wrong\n"},
			{0, event{Action: "fail", Package: pkg}, "FAIL  server\n"},
		}, 1},
	} {
		t.Run(what, func(t *testing.T) {
			var out bytes.Buffer
			now := time.Now()
			r := newReport(&out, now)
			for _, s := range c.steps {
				now = now.Add(s.after)
				out.Reset()
				r.take(s.event, now)
				r.remind(now)
				require.Equal(t, s.says, out.String(), "%+v", s.event)
			}
			require.Len(t, r.failed, c.failed)
			out.Reset()
			r.sum(now)
			require.Equal(t, c.failed > 0, strings.HasPrefix(out.String(), "FAIL"), out.String())
		})
	}
}

// A line of any kind is an event, or output.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Action":"pass","Package":"p","Test":"T","Elapsed":0.1}` + "\nno JSON\n{\"Elapsed\":\"\"}"))
	f.Fuzz(func(_ *testing.T, lines []byte) {
		events := make(chan event)
		go func() {
			defer close(events)
			decode(bytes.NewReader(lines), events)
		}()
		newReport(&bytes.Buffer{}, time.Now()).follow(events, nil)
	})
}
