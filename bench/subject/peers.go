package subject

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
)

// recent is the interval for ways that read one.
const recent = 5 * time.Minute

// Peers that are installed in a folder.
func Peers(tools string) (kinds []Kind) {
	for _, p := range []struct {
		program string
		kind    Kind
	}{
		{"vmagent", Kind{Name: report.VMAgent, Quiet: 2 * time.Second, start: (*System).vmagent}},
		{"prometheus3", Kind{Name: report.Prometheus, start: (*System).prometheusAlone}},
		{"thanos", Kind{Name: report.Thanos, start: (*System).thanosAlone}},
	} {
		binary := filepath.Join(tools, p.program)
		if _, err := os.Stat(binary); err == nil {
			p.kind.Write, p.kind.Version = 1, moduleVersion(binary)
			kinds = append(kinds, p.kind)
		}
	}
	return kinds
}

// Stores are those of the peers that evaluate PromQL, each as a single process that
// senders write to.
func Stores(tools string) (kinds []Kind) {
	for _, p := range []struct {
		program string
		kind    Kind
	}{
		{"prometheus3", Kind{Name: report.Prometheus, start: (*System).prometheusAlone}},
		{"victoria-metrics", Kind{Name: report.VictoriaMetrics, Quiet: 2 * time.Second, start: (*System).victoriaAlone}},
	} {
		binary := filepath.Join(tools, p.program)
		if _, err := os.Stat(binary); err == nil {
			p.kind.Write, p.kind.Version = 1, moduleVersion(binary)
			kinds = append(kinds, p.kind)
		}
	}
	return kinds
}

// Version is what a program prints for --version, in the style of Prometheus.
func Version(binary string) string {
	out, err := exec.Command(binary, "--version").CombinedOutput()
	if err != nil {
		return "unknown"
	}
	if m := regexp.MustCompile(`version ([^\s,(]+)`).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// moduleVersion is in the target of the link if the program was built here.
func moduleVersion(binary string) string {
	target, err := os.Readlink(binary)
	if _, version, ok := strings.Cut(target, "-v"); err == nil && ok {
		return "module v" + version
	}
	return Version(binary)
}

func (s *System) vmagent() error {
	a, err := addresses(3)
	if err != nil {
		return err
	}
	agent := []string{"-httpListenAddr=" + a[2], "-remoteWrite.tmpDataPath=" + s.data("vmagent")}
	for i, address := range a[:2] {
		name := fmt.Sprintf("victoria %d", i+1)
		s.Servers = append(s.Servers, s.add(name, filepath.Join(s.tools, "victoria-metrics"), "http://"+address+"/health",
			"-httpListenAddr="+address, "-storageDataPath="+s.data(name), "-retentionPeriod=1",
			"-search.latencyOffset=0s", "-search.maxUniqueTimeseries=10000000", "-search.maxFederateSeries=10000000",
			"-search.maxExportSeries=10000000", "-search.maxExportDuration=1h", "-search.maxQueryDuration=1h"))
		agent = append(agent, "-remoteWrite.url=http://"+address+"/api/v1/write")
	}
	s.Front = []*Process{s.add("vmagent", filepath.Join(s.tools, "vmagent"), "http://"+a[2]+"/health", agent...)}
	s.WriteURL = "http://" + a[2] + "/api/v1/write"
	first := "http://" + a[0]
	s.Ways = []Way{
		{Name: "/federate", Numbers: true, Read: func(ctx context.Context) (read.Result, error) { return read.Federate(ctx, first) }},
		{Name: "export/native", Numbers: true, Read: func(ctx context.Context) (read.Result, error) {
			return read.ExportNative(ctx, first, time.Now().Add(-recent))
		}},
	}
	return nil
}

// prometheusAlone receives remote write itself. An agent in front of two of them is not
// compared: it drops samples from before its start, and so all of a load made
// beforehand.
func (s *System) prometheusAlone() error {
	a, err := addresses(1)
	if err != nil {
		return err
	}
	file := filepath.Join(s.Dir, "prometheus.yml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	url := "http://" + a[0]
	s.Servers = []*Process{s.add("prometheus", filepath.Join(s.tools, "prometheus3"), url+"/-/ready",
		"--config.file="+file, "--web.listen-address="+a[0], "--web.enable-remote-write-receiver", "--storage.tsdb.path="+s.data("prometheus"))}
	s.API, s.WriteURL = url, url+"/api/v1/write"
	s.Ways = []Way{
		{Name: "/federate", Numbers: true, Read: func(ctx context.Context) (read.Result, error) { return read.Federate(ctx, url) }},
		{Name: "remote read", Read: func(ctx context.Context) (read.Result, error) {
			return read.RemoteRead(ctx, url, time.Now().Add(-recent))
		}},
	}
	return nil
}

// victoriaAlone is one VictoriaMetrics, which shows a sample once it is stored.
func (s *System) victoriaAlone() error {
	a, err := addresses(1)
	if err != nil {
		return err
	}
	s.API = "http://" + a[0]
	s.Servers = []*Process{s.add("victoria", filepath.Join(s.tools, "victoria-metrics"), s.API+"/health",
		"-httpListenAddr="+a[0], "-storageDataPath="+s.data("victoria"), "-retentionPeriod=1", "-search.latencyOffset=0s",
		"-search.maxUniqueTimeseries=10000000", "-search.maxQueryDuration=1h")}
	s.WriteURL = s.API + "/api/v1/write"
	return nil
}

// ReadStore reads the recent samples of all series by Thanos' StoreAPI.
func (s *System) ReadStore(ctx context.Context) (read.Result, error) {
	return read.ThanosSeries(ctx, s.StoreAPI, time.Now().Add(-recent))
}

// thanosAlone is one receiver that stores what it receives.
func (s *System) thanosAlone() error {
	a, err := addresses(3)
	if err != nil {
		return err
	}
	ops, write, rpc := a[0], a[1], a[2]
	s.Servers = []*Process{s.add("thanos", filepath.Join(s.tools, "thanos"), "http://"+ops+"/-/ready",
		"receive", "--http-address="+ops, "--remote-write.address="+write, "--grpc-address="+rpc,
		`--label=replica="0"`, "--tsdb.path="+s.data("thanos"), "--tsdb.enable-native-histograms", "--log.level=warn")}
	s.WriteURL = "http://" + write + "/api/v1/receive"
	s.StoreAPI = read.Server{Address: rpc}
	s.Ways = []Way{{Name: "StoreAPI Series", Read: s.ReadStore}}
	return nil
}
