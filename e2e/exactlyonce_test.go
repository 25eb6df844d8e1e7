package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const exactlyOnce = "clients/go/examples/exactlyonce"

// TestExactlyOnce kills the example program ten times at random moments while
// samples are written, and finds each of them once in its file, and none of
// before its first start.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	if n := statements(t, harness.File(exactlyOnce+"/main.go")); n > 20 {
		t.Errorf("the example has %d lines", n)
	}
	program := filepath.Join(t.TempDir(), "exactlyonce")
	build := exec.Command("go", "build", "-o", program, "./"+exactlyOnce)
	build.Dir = harness.File(".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cluster := harness.NewCluster(t, harness.Options{})
	file := filepath.Join(t.TempDir(), "samples")
	earlier := harness.NewSender(t, cluster.WriteURL(), "earlier", 5)
	earlier.Start(time.Hour) // once
	earlier.Stop()
	for server := range cluster.Servers {
		harness.Eventually(t, "the samples of before the example's first start", func() bool {
			return harness.Get(t, cluster.RPC(server), "grpc").Points.Missing(earlier.Acknowledged()) == 0
		})
	}
	sender := harness.NewSender(t, cluster.WriteURL(), "exactlyonce", 50)
	run := harness.Start(t, "exactlyonce", program, cluster.RPCs(), file)
	// Once it follows, nothing can escape it.
	harness.Eventually(t, "the example to follow", func() bool {
		data, _ := os.ReadFile(file)
		return bytes.Contains(data, []byte(`"synced"`))
	})
	sender.Start(5 * time.Millisecond)
	for range 10 {
		time.Sleep(100*time.Millisecond + rand.N(400*time.Millisecond))
		run.Kill()
		// What is written meanwhile it gets afterwards.
		time.Sleep(rand.N(200 * time.Millisecond))
		run.Restart()
	}
	sender.Stop()
	want := sender.Acknowledged()
	harness.Eventually(t, "all samples in the file", func() bool { return stored(t, file).Missing(want) == 0 })
	harness.Equal(t, "the file", want, stored(t, file))
	t.Logf("%d samples, each once, after 10 kills", len(want))
}

// stored reads the whole lines of the example's file.
func stored(t *testing.T, file string) harness.Points {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	points := harness.Points{}
	lines := bytes.Split(data, []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var response metricsv1.GetMetricsResponse
		if err := protojson.Unmarshal(line, &response); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, s := range response.GetTimeseries() {
			labels := map[string]string{}
			for _, l := range s.GetLabels() {
				labels[l.GetName()] = l.GetValue()
			}
			for _, sample := range s.GetSamples() {
				points.Add(harness.Series(labels), sample.GetTimestamp(), harness.Float(sample.GetValue()))
			}
		}
	}
	return points
}

// statements counts the lines of a program that are neither blank nor comments
// nor imports.
func statements(t *testing.T, file string) int {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := strings.Cut(string(source), "\n)\n")
	if !ok {
		t.Fatal(fmt.Errorf("%s: no imports", file))
	}
	n := 0
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	return n
}
