package main

import (
	"flag"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/report"
)

func TestShort(t *testing.T) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	values := map[string]*string{}
	for _, name := range []string{"series", "samples", "reads", "live", "hour", "systems"} {
		values[name] = flags.String(name, "", "")
	}
	require.NoError(t, flags.Parse([]string{"-series", "7"}))
	require.NoError(t, shorten(flags))
	require.Equal(t, "7", *values["series"], "it was given")
	require.Equal(t, "1", *values["reads"])

	systems := regexp.MustCompile(*values["systems"])
	for _, name := range []string{report.Project, report.ProjectTwo, report.VMAgent, report.Thanos} {
		require.True(t, systems.MatchString(name), name)
	}
	require.False(t, systems.MatchString(report.ProjectOne))
}

func TestSerialCost(t *testing.T) {
	cost, err := serialCost([]byte("BenchmarkSerial/remote_write_1.0-2   100   26329195 ns/op   10.40 append-ns/sample   30.87 serial-ns/sample   106.5 shared-ns/sample\nPASS\n"))
	require.NoError(t, err)
	require.InDelta(t, 30.87, cost, 1e-9)
	_, err = serialCost([]byte("PASS\n"))
	require.ErrorContains(t, err, "PASS")
}
