package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestSelectors reads parts of what is there.
func TestSelectors(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	names := []string{"go_goroutines", "go_threads", "go_info", "going", "process_open_fds", "not_go_threads", "up"}
	var list []prompb.TimeSeries
	for i, name := range names {
		for _, job := range []string{"a", "b"} {
			list = append(list, series(map[string]string{"__name__": name, "job": job}, float64(i)))
		}
	}
	write(t, cluster, list...)
	awaitSeries(t, cluster, `{__name__=~".+"}`, len(list))

	cases := map[string]func(name, job string) bool{
		`{__name__=~"go_.*"}`:              func(name, _ string) bool { return strings.HasPrefix(name, "go_") },
		`{__name__=~"go_.*",job!="a"}`:     func(name, job string) bool { return strings.HasPrefix(name, "go_") && job != "a" },
		`up`:                               func(name, _ string) bool { return name == "up" },
		`{job="b"}`:                        func(_, job string) bool { return job == "b" },
		`{__name__="up",absent=""}`:        func(name, _ string) bool { return name == "up" },
		`{__name__="up",absent!=""}`:       func(string, string) bool { return false },
		`{__name__=~"up|going",job=~"a|"}`: func(name, job string) bool { return (name == "up" || name == "going") && job == "a" },
	}
	for selector, matches := range cases {
		t.Run(selector, func(t *testing.T) {
			want := map[string]bool{}
			for _, name := range names {
				for _, job := range []string{"a", "b"} {
					if matches(name, job) {
						want[harness.Series(map[string]string{"__name__": name, "job": job})] = true
					}
				}
			}
			for i := range cluster.Servers {
				got := harness.Get(t, cluster.RPC(i), protocols[i], selector).Points
				for point := range got {
					if !want[point.Series] {
						t.Errorf("server %d: %s does not match", i+1, point.Series)
					}
				}
				if len(got) != len(want) {
					t.Errorf("server %d: %d series, want %d", i+1, len(got), len(want))
				}
			}
		})
	}

	t.Run("two are joined", func(t *testing.T) {
		got := harness.Get(t, cluster.RPC(0), "grpc", "up", `{__name__=~"u.*"}`, "going").Points
		if len(got) != 4 {
			t.Errorf("%d series, want 4: %v", len(got), got)
		}
	})

	for _, protocol := range protocols {
		t.Run("broken "+protocol, func(t *testing.T) {
			code, stdout, stderr := harness.Client(t, "get", `up{job="a`, "--address="+cluster.RPC(0), "--protocol="+protocol)
			if code == 0 || len(stdout) != 0 {
				t.Errorf("exit code %s, stdout %q", strconv.Itoa(code), stdout)
			}
			contains(t, stderr, `up{job="a`)
		})
	}
	t.Run("broken grpcurl", func(t *testing.T) {
		_, _, stderr := harness.Run(t, harness.Tool(t, "grpcurl"), "-plaintext", "-d", `{"selectors":["up","up{job=~}"]}`, cluster.RPC(0), service+"/GetMetrics")
		contains(t, stderr, "Code: InvalidArgument", "selector 2", "up{job=~}\n          ^")
	})
}
