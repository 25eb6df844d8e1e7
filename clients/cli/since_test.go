package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseSince(t *testing.T) {
	now := time.UnixMilli(t0)
	for text, want := range map[string]time.Time{
		"1d": now.Add(-24 * time.Hour), "90s": now.Add(-90 * time.Second), "0s": now,
		"1700000000123": now, "0": time.UnixMilli(0), "-5": time.UnixMilli(-5), "1700000000": time.UnixMilli(1700000000),
		"1700000000.123": now, "1700000000.0": time.UnixMilli(1700000000_000), "-0.001": time.UnixMilli(-1),
		"2023-11-14T22:13:20.123Z": now, "2023-11-14T23:13:20.123+01:00": now, "2023-11-14 22:13:20.123 +0000 UTC": now,
		"1970-01-01T00:00:00Z": time.UnixMilli(0), "0001-01-01T00:00:00Z": {}, "0000-01-01T00:00:00Z": {}, "-9223372036854775808": {},
		"253402300799999": time.UnixMilli(253402300799999),
	} {
		got, err := parseSince(text, now)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), "%s: %s", text, got)
	}
	for _, text := range []string{"", "yesterday", "1e9", "NaN", "Inf", "0x10", "1700000000,5", "10 m", ".", "-", "253402300800000", "9223372036854775807", "9e99"} {
		_, err := parseSince(text, now)
		require.Error(t, err, text)
	}
}

// TestSinceTakesWhatIsPrinted parses the times of each output.
func TestSinceTakesWhatIsPrinted(t *testing.T) {
	server := snapshot()
	address := server.Start(t)
	asked := func(args ...string) time.Time {
		r := runCLI(t, t.Context(), append([]string{"get", "-a", address, "--limit=1"}, args...)...)
		require.Equal(t, ExitOK, r.code, r.stderr)
		require.Empty(t, r.stderr)
		requests := server.Requests()
		last := requests[len(requests)-1]
		require.NotNil(t, last.GetSince())
		return last.GetSince().AsTime()
	}
	field := func(i int, separator string, args ...string) string {
		r := runCLI(t, t.Context(), append([]string{"get", "-a", address, "--limit=1", "{up}"}, args...)...)
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		fields := strings.Split(strings.TrimSpace(lines[len(lines)-1]), separator)
		return strings.TrimSpace(fields[(i+len(fields))%len(fields)])
	}
	for _, printed := range []string{
		field(-1, " "),
		field(0, ",", "-o", "csv"),
		field(-1, "  ", "-o", "table"),
		field(0, "|", "--template", "{{.Time}}|"),
		field(0, "|", "--template", "{{.Timestamp}}|"),
		"1700000000.123", // of OpenMetrics
	} {
		require.Equal(t, int64(t0), asked("--since", printed).UnixMilli(), printed)
	}
	require.True(t, asked("--since=0001-01-01T00:00:00Z").IsZero(), "the first year is one")
	require.Equal(t, int64(0), asked("--since=0").UnixMilli())

	r := runCLI(t, t.Context(), "get", "-a", address, "--since=1700000000")
	require.Equal(t, ExitOK, r.code)
	require.Contains(t, r.stderr, "--since 1700000000 is 1970-01-20T16:13:20Z: seconds have a decimal point")
}
