package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// segmentBytes returns a sealed segment with a keyframe and two blocks.
func segmentBytes(t *testing.T) []byte {
	t.Helper()
	wire := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		return b
	}
	series := func(ref uint64, name string) segment.Series {
		return segment.Series{Ref: ref, Labels: segment.Labels{{Name: "__name__", Value: name}, {Name: "job", Value: "j"}}}
	}
	histogram := func(ts int64) []byte {
		return wire(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 3}, Sum: 2, Timestamp: ts,
			PositiveSpans: []*metricsv1.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{3},
		})
	}
	placed := func(version uint64, epochs ...placement.Epoch) segment.Placement {
		p, err := placement.New(version, placement.BySender, nil, append([]placement.Epoch{{From: placement.Ever, Groups: []string{"a", "b"}}}, epochs...))
		require.NoError(t, err)
		return segment.Placement{Group: "a", Wire: string(p.Bytes())}
	}
	e := segment.NewEncoder()
	b := e.StartSegment(nil, segment.Header{LogID: segment.LogID{1, 2, 3}, FirstSequence: 5, CreateTime: t0})
	var err error
	b, err = e.AppendKeyframe(b, &segment.Keyframe{
		Sequence: 4, NextRef: 4, Last: true,
		Series:   segment.TableOf(series(1, "requests_total"), series(3, "native")),
		Latest:   []segment.Latest{{Timestamp: t0 - 10, Value: 1, Written: t0 - 10}, {Timestamp: t0 - 10, Histogram: histogram(t0 - 10), Written: t0 - 10}},
		Metadata: []segment.Metadata{{Family: "requests", Type: 1, Help: "Requests."}},
		Elections: []segment.Election{
			{Tenant: "t", Cluster: "c", Replica: "a", Term: 1, ClaimTime: t0 - 60_000, LogID: segment.LogID{1, 2, 3}, HeardTime: t0 - 10},
			{Cluster: "other", Replica: "a", Term: 1, ClaimTime: t0 - 60_000, LogID: segment.LogID{1, 2, 3}, HeardTime: t0 - 10},
		},
		Placement: placed(1),
	}, t0, 0)
	require.NoError(t, err)
	b, err = e.AppendBlock(b, &segment.Block{
		Sequence: 5, Time: t0 + 1, Digest: [16]byte{9},
		Verdict: segment.Verdict{Samples: 2, Rejected: 1, Errors: []string{"one was bad"}},
		Series:  segment.TableOf(series(4, "up")),
		Samples: samplesOf(segment.Sample{Ref: 1, Timestamp: t0, Value: 2}, segment.Sample{Ref: 4, Timestamp: t0, Value: stale}),
	}, 0)
	require.NoError(t, err)
	b, err = e.AppendBlock(b, &segment.Block{
		Sequence: 6, Time: t0 + 2,
		Samples:    samplesOf(segment.Sample{Ref: 4, Timestamp: t0 + 5, Value: 1, StartTimestamp: t0 - 99}),
		Histograms: []segment.Histogram{{Ref: 3, Timestamp: t0, After: 1, Data: histogram(t0)}},
		Exemplars:  []segment.Exemplar{{Ref: 1, Data: wire(&metricsv1.Exemplar{Labels: labels("trace_id", "x"), Value: 0.5})}},
		Metadata:   []segment.Metadata{{Family: "up", Type: 2, Help: "Late."}},
		Elections:  []segment.Election{{Tenant: "t", Cluster: "c", Replica: "b", Term: 2, ClaimTime: t0 + 1, LogID: segment.LogID{1, 2, 3}, HeardTime: t0 + 2}},
		Placement:  placed(2, placement.Epoch{From: t0 + 60_000, Groups: []string{"a", "b", "c"}}),
	}, 0)
	require.NoError(t, err)
	b, err = e.AppendFooter(b, t0+3, 0)
	require.NoError(t, err)
	return b
}

// encoding matches what changes with the compressor.
var encoding = regexp.MustCompile(`("(?:offset|bytes|file_bytes)":|"checksum":")[0-9a-f]+`)

func TestInspect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.seg")
	require.NoError(t, os.WriteFile(path, segmentBytes(t), 0o600))
	for name, args := range map[string][]string{
		"inspect.json":                {"-o", "json"},
		"inspect.samples.text":        {"--samples"},
		"inspect.keyframe.json":       {"--samples", "--keyframe", "-o", "json"},
		"inspect.samples.openmetrics": {"--samples", "-o", "openmetrics"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, t.Context(), append([]string{"inspect", path}, args...)...)
			require.Equal(t, 0, r.code, r.stderr)
			metricstest.Golden(t, name, encoding.ReplaceAll([]byte(r.stdout), []byte("$1*")))
		})
	}
	r := runCLI(t, t.Context(), "inspect", path)
	require.Contains(t, r.stdout, "\nsealed: 2 blocks, 1 new series, 3 samples, 1 histograms, 1 exemplars, 1 rejected, ")
	require.Regexp(t, `\n +\d+ block +5 2023-11-14T22:13:20.124Z +1 +2 +0 +0 +0 +1 +\d+\n`, r.stdout)
	require.Regexp(t, `\nTENANT +CLUSTER +ELECTED .*\n"" +"other" +"a" +1 .*\n"t" +"c" +"b" +2 2023-11-14T22:13:20.124Z 2023-11-14T22:13:20.125Z 010203[0-9a-f]{26}\n`, r.stdout)
	require.Regexp(t, `\n\ngroup "a", version 2 of the groups file\nFROM +GROUPS\never +a b\n2023-11-14T22:14:20.123Z +a b c\n$`, r.stdout)
	require.Equal(t, 2, runCLI(t, t.Context(), "inspect", path, "-o", "csv").code)
}

func TestInspectTellsWhereTheDamageIs(t *testing.T) {
	whole := segmentBytes(t)
	path := filepath.Join(t.TempDir(), "a.seg")
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 0x40
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		r := runCLI(t, t.Context(), "inspect", path, "-o", "json")
		require.Equal(t, 1, r.code, "byte %d", i)
		require.Contains(t, r.stderr, path+": offset ")
	}
	// A file that ends between two frames is one that is being written.
	ends := 0
	for n := range whole {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		r := runCLI(t, t.Context(), "inspect", path)
		if r.code == 0 {
			ends++
			require.Contains(t, r.stdout, "\nopen: ")
			continue
		}
		require.Equal(t, 1, r.code, "cut to %d", n)
		require.Contains(t, r.stderr, path+": offset ")
	}
	require.Equal(t, 3, ends, "after the keyframe and the two blocks")

	require.NoError(t, os.WriteFile(path, append(whole, "junk"...), 0o600))
	r := runCLI(t, t.Context(), "inspect", path, "--samples")
	require.Equal(t, 1, r.code)
	metricstest.Golden(t, "inspect.samples.text", []byte(r.stdout)) // what was read before the damage is printed
}

// samplesOf returns samples in this order.
func samplesOf(samples ...segment.Sample) (s segment.Samples) {
	for _, x := range samples {
		s.Add(x)
	}
	return s
}
