package output

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)

// screen returns what the last drawing shows, line by line.
func screen(drawn string) []string {
	last := drawn[strings.LastIndex(drawn, home)+len(home):]
	last = strings.ReplaceAll(last, clearBelow, "")
	return strings.Split(escapes.ReplaceAllString(last, ""), "\r\n")
}

func TestLiveTable(t *testing.T) {
	var b bytes.Buffer
	width, height := 0, 0
	l := NewLiveTable(&b, func() (int, int, error) { return width, height, nil }, false, true)
	l.mu.Lock()
	l.now = func() time.Time { return time.UnixMilli(t0 + 3000) }
	l.mu.Unlock()
	at := func(s *metricsv1.TimeSeries, ms int64) *metricsv1.TimeSeries {
		s.Samples[0].Timestamp = ms
		return s
	}
	require.NoError(t, l.Series([]*metricsv1.TimeSeries{
		at(float(5, "__name__", "requests_total", "job", "a"), t0-1000),
		at(float(25, "__name__", "requests_total", "job", "a"), t0+1000),
		at(float(1, "__name__", "up", "instance", strings.Repeat("long", 20)), t0),
		at(float(7, "__name__", "odd", "a", "\x1b[2J\r\u009b"), t0),
		at(float(stale, "__name__", "gone"), t0-180_000),
	}))
	_, err := l.Write([]byte("stream lost\n"))
	require.NoError(t, err)
	for _, tc := range []struct {
		width, height int
		want          []string
	}{
		{60, 7, []string{
			"SERIES                                      VALUE  RATE  AGE",
			`odd{a="\u001b[2J\r\u009b"}                      7     -   3s`,
			`requests_total{job="a"}                        25  10/s   2s`,
			`up{instance="longlonglonglonglonglongl…         1     -   3s`,
			"gone                                     StaleNaN     -   3m",
			"connecting, 4 series, 5 samples; stream lost",
		}},
		{40, 4, []string{
			"SERIES                  VALUE  RATE  AGE",
			`odd{a="\u001b[2J\r\u0…      7     -   3s`,
			`requests_total{job="a…     25  10/s   2s`,
			"connecting, 4 series, 5 samples, 2 more…",
		}},
	} {
		l.mu.Lock()
		width, height = tc.width, tc.height
		drawn := string(l.draw())
		l.mu.Unlock()
		require.Equal(t, tc.want, trimmed(screen(drawn)), "%d x %d", tc.width, tc.height)
	}
	l.Stop()
	require.True(t, strings.HasPrefix(b.String(), enterScreen))
	require.True(t, strings.HasSuffix(b.String(), leaveScreen))
}

func trimmed(lines []string) []string {
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}
