package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	var r Result
	for _, v := range []float64{2.5e6, 1.5e6, 2.2e6} {
		r.Add(small, Project, Steady, "samples/CPU-s", v)
	}
	r.Add(small, "slow & old", Steady, "samples/CPU-s", 0.1e6)
	r.Add(small, "peer", Steady, "samples/CPU-s", 0.2e6)
	r.Add(small, ProjectOne, Steady, "samples/CPU-s", 9e6) // not a peer
	r.Add(large, Project, LatestFirst, "s", 0.020)
	r.Add(large, "peer", LatestFirst, "s", 0.010)
	r.Add(small, Bound, Steady, "samples/CPU-s", 4.4e6) // neither a peer
	r.Add(large, BoundHTTP, LatestFirst, "s", 0.005)
	r.Add(small, Bound, Cost+"receiver: read", "ns", 44)
	r.Add(small, Project, Cost+"receiver", "ns", 90.9)
	r.Add(small, ProjectTLS, Steady, "samples/CPU-s", 2.0e6)
	r.Add(20_000, Project, Followers, "CPU-s/s", 0.2)
	r.Add(20_000, ProjectTLS, Followers, "CPU-s/s", 0.25)
	dir := t.TempDir()
	require.NoError(t, r.Write(dir, All))

	text, err := os.ReadFile(filepath.Join(dir, "result.md"))
	require.NoError(t, err)
	require.Contains(t, string(text),
		"| 100 000 | ≥ 2 M samples/CPU-s | 2.20 (1.50–2.50) | met | 0.200 peer | 11 × better |")
	require.Contains(t, string(text), "| 1 000 000 | ≤ 10 ms | 20 | missed | 10 peer | 2 × worse |")

	require.Contains(t, string(text), "| steady ingest, RW 1.0, all processes | 100 000 | 4.40 M samples/CPU-s | 2.20 (1.50–2.50) | 50 % |")
	require.Contains(t, string(text), "| | lower bound, 100 000 | project, 100 000 |\n|---|---:|---:|\n| receiver |  | 90.9 |\n| receiver: read | 44 |  |\n")
	require.Contains(t, string(text), "| 1 000 000 | 5 ms | 20 | 25 % |")

	require.Contains(t, string(text), "| steady ingest, RW 1.0, all processes | 100 000 | 2.20 (1.50–2.50) M samples/CPU-s | 2 | 91 % |")
	require.Contains(t, string(text), "| a hundred followers of everything | 20 000 | 0.200 CPU-s/s | 0.250 | 80 % |")

	svg, err := os.ReadFile(filepath.Join(dir, "ingest.svg"))
	require.NoError(t, err)
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
}

func TestNoTableOfBoundsThatWereNotMeasured(t *testing.T) {
	var r Result
	r.Add(small, Project, Steady, "samples/CPU-s", 1)
	r.Add(small, BoundTwo, Steady, "samples/CPU-s", 1)
	require.NotContains(t, string(r.Markdown()), "Lower bounds")
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2.5, (&Figure{Values: []float64{4, 1, 2, 3}}).Median(), 0)
	require.InDelta(t, 3, (&Figure{Values: []float64{9, 1, 3}}).Median(), 0)
}
