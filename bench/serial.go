package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/promgrpc/exporter/bench/report"
)

// serialSeries is how many series the forwarder's BenchmarkSerial has.
const serialSeries = 100_000

var serialMetric = regexp.MustCompile(`([\d.]+) serial-ns/sample`)

// serial measures what only the forwarder's appender does, which no number of processors
// shares, and adds it as a part of the forwarder's floors, in nanoseconds a sample.
func (b *bench) serial(ctx context.Context, floors float64) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkSerial$/^remote_write_1.0$", "./forwarder").CombinedOutput()
	if err != nil {
		return fmt.Errorf("BenchmarkSerial of the forwarder: %w: %s", err, out)
	}
	cost, err := serialCost(out)
	if err != nil {
		return err
	}
	add := b.adder(serialSeries, report.Project)
	add(report.Cost+"forwarder, appender alone", "ns", cost)
	add(report.Serial, "%", 100*cost/floors)
	return nil
}

// serialCost reads what the benchmark has measured.
func serialCost(out []byte) (float64, error) {
	m := serialMetric.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("BenchmarkSerial of the forwarder says no serial-ns/sample: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
