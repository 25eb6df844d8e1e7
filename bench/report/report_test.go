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
	r.Add(small, Thanos, Steady, "samples/CPU-s", 0.2e6)
	r.Add(small, VMAgent, Steady, "samples/CPU-s", 0.25e6)
	for _, variant := range []string{ProjectOne, ProjectTwoGroups, ProjectFourGroups, ProjectSenders} {
		r.Add(small, variant, Steady, "samples/CPU-s", 9e6) // not a peer
	}
	r.Add(small, Project, Latest, "series/CPU-s", 3e6)
	r.Add(small, VMAgent+", /federate", Latest, "series/CPU-s", 0.2e6)
	r.Add(small, VMAgent+", export/native", Latest, "series/CPU-s", 0.1e6)
	r.Add(large, Project, LatestFirst, "s", 0.020)
	r.Add(large, Thanos+", StoreAPI Series", LatestFirst, "s", 0.010)
	r.Add(small, Bound, Steady, "samples/CPU-s", 4.4e6) // neither a peer
	r.Add(large, BoundHTTP, LatestFirst, "s", 0.005)
	r.Add(small, Bound, Cost+"receiver: read", "ns", 44)
	r.Add(small, Project, Cost+"receiver", "ns", 90.9)
	r.Add(small, ProjectTLS, Steady, "samples/CPU-s", 2.0e6)
	r.Add(20_000, Project, Followers, "CPU-s/s", 0.2)
	r.Add(20_000, ProjectTLS, Followers, "CPU-s/s", 0.25)
	for system, cost := range map[string]float64{ProjectTwoGroups: 60, ProjectRouter: 66, BoundRouter: 33} {
		r.Add(20_000, system, Routed+References, "ns/sample", cost)
	}
	r.Versions = map[string]string{Project: "1.0", ProjectOne: "1.0", Thanos: "v2"}
	dir := t.TempDir()
	require.NoError(t, r.Write(dir, All))

	data, err := os.ReadFile(filepath.Join(dir, "result.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"\nVersions: Thanos receive v2; project 1.0.\n",
		// Of the floor.
		"| steady ingest, RW 1.0, all processes | 100 000 | 4.40 M samples/CPU-s | 2.20 (1.50–2.50) | 50 % | ≥ 85 % | missed |",
		"| steady ingest, RW 2.0, all processes | 100 000 | – | – | – | ≥ 75 % | not measured |",
		"| 1 000 000 | 5 ms | 20 | 25 % | – | |",
		"| | lower bound, 100 000 | project, 100 000 |\n|---|---:|---:|\n| receiver |  | 90.9 |\n| receiver: read | 44 |  |\n",
		// To the best peer, by what it keeps.
		"| steady ingest, RW 1.0, all processes | 100 000 | 0.250 M samples/CPU-s, vmagent + 2 VictoriaMetrics | 2.20 (1.50–2.50) | 8.80 × | ≥ 10 × | missed |",
		"| snapshot over gRPC, full labels | 100 000 | 0.200 M series/CPU-s, vmagent + 2 VictoriaMetrics, /federate | 3 | 15 × | ≥ 10 × | met |",
		"| steady ingest, RW 1.0, all processes | 100 000 | 0.200 M samples/CPU-s, Thanos receive | 2.20 (1.50–2.50) | 11 × | – | |",
		"| StoreAPI, all series, 5 minutes | 100 000 | – | – | – | ≥ 5 × | not measured |",
		"| snapshot, first byte | 1 000 000 | 10 ms, Thanos receive, StoreAPI Series | 20 | 0.500 × | – | |",
		// Bounds that stand by themselves.
		"| snapshot, first byte | 1 000 000 | ≤ 10 ms | 20 | missed |",
		"| a hundred followers of everything | 20 000 | ≤ 1 CPU-s/s | 0.200 | met |",
		"| restart with all series | 1 000 000 | ≤ 3 s | – | not measured |",

		"| steady ingest, RW 1.0, all processes | 100 000 | 2.20 (1.50–2.50) M samples/CPU-s | 2 | 91 % |\n",
		"| a hundred followers of everything | 20 000 | 0.200 CPU-s/s | 0.250 | 80 % |\n",
		"| following, CPU of a sample, with label references | 60 | 66 | 33 | 1.10 × | 2 × |\n",
	} {
		require.Contains(t, string(data), want)
	}
	require.NotContains(t, string(data), "| 20 000 | – |") // only followers are measured at this size

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

func TestWithoutIngestNoTargets(t *testing.T) {
	var r Result
	r.Add(small, ProjectOne, InstantTop+CPU, "s", 1)
	require.NotContains(t, string(r.Markdown()), "## Targets")
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2.5, (&Figure{Values: []float64{4, 1, 2, 3}}).Median(), 0)
	require.InDelta(t, 3, (&Figure{Values: []float64{9, 1, 3}}).Median(), 0)
}
