package promapi

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1435781451.781": 1435781451781, "1.5e3": 1500000, "-1.5": -1500, "2015-07-01T20:10:51.781Z": 1435781451781,
		"2015-07-01T22:10:51.781+02:00": 1435781451781, "1435781451.7814": 1435781451781, "0.9999": 1000,
		// Grafana asks for exemplars at milliseconds.
		"1435781451781": 1435781451781000,
		minTimeText:     minTime.UnixMilli(), maxTimeText: maxTime.UnixMilli(),
	} {
		got, err := parseTime(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "NaN", "Inf", "-inf", "1e300", "2015-07-01", "30s"} {
		_, err := parseTime(text)
		require.ErrorContains(t, err, "to a valid timestamp", text)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15": 15 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "-1": -time.Second, "1e3": 1000 * time.Second, "2w": 14 * 24 * time.Hour,
	} {
		got, err := parseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "NaN", "1e300", "-1m", "1m 1s"} {
		_, err := parseDuration(text)
		require.ErrorContains(t, err, "to a valid duration", text)
	}
}

func TestSpans(t *testing.T) {
	of := func(start, end, step string) (span, error) {
		return spanOf(&request{Values: url.Values{"start": {start}, "end": {end}, "step": {step}}})
	}
	got, err := of("1", "2", "0.5")
	require.NoError(t, err)
	require.Equal(t, span{1000, 2000, 500}, got)
	_, err = of("0", "11000", "1")
	require.NoError(t, err)
	for _, test := range []struct{ start, end, step, want string }{
		{"", "2", "1", `invalid parameter "start": cannot parse "" to a valid timestamp`},
		{"1", "x", "1", `invalid parameter "end": cannot parse "x" to a valid timestamp`},
		{"2", "1", "1", `invalid parameter "end": end timestamp must not be before start time`},
		{"1", "2", "x", `invalid parameter "step": cannot parse "x" to a valid duration`},
		{"1", "2", "0", `invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer`},
		{"1", "2", "-1", `invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer`},
		{"0", "11001", "1", `exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)`},
		{minTimeText, maxTimeText, "1", `exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)`},
	} {
		_, err := of(test.start, test.end, test.step)
		require.EqualError(t, err, test.want)
		require.Equal(t, 400, failureOf(err).status)
	}
}

// No parameter, whatever it is, is more than refused.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{"", "1", "1.5", "2015-07-01T20:10:51.781Z", "30s", "NaN", "-1e9", "9223372036854775807"} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, start, end, step string) {
		s, err := spanOf(&request{Values: url.Values{"start": {start}, "end": {end}, "step": {step}}})
		if err != nil {
			require.Equal(t, 400, failureOf(err).status)
			return
		}
		require.LessOrEqual(t, s.start, s.end)
		require.Positive(t, s.step)
		require.LessOrEqual(t, uint64(s.end-s.start)/uint64(s.step), uint64(mostPoints))
	})
}

func TestTakesGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "deflate, gzip": true, "gzip;q=0": false, "gzip; q=0.5": true, "br": false, "xgzip": false,
	} {
		require.Equal(t, want, takesGzip(map[string][]string{"Accept-Encoding": {header}}), header)
	}
}
