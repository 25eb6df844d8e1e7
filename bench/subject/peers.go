package subject

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/promgrpc/exporter/bench/read"
)

// recent is how far back the ways go that read an interval.
const recent = 5 * time.Minute

// Names of the peers.
const (
	VMAgent         = "vmagent + 2 VictoriaMetrics"
	PrometheusAlone = "Prometheus"
	ThanosAlone     = "Thanos receive"
)

// Peers that are installed in a folder.
func Peers(tools string) []Kind {
	var kinds []Kind
	if installed(tools, "vmagent") && installed(tools, "victoria-metrics") {
		version := moduleVersion(filepath.Join(tools, "victoria-metrics"))
		kinds = append(kinds, Kind{Name: VMAgent, Write: 1, Version: version, Quiet: 2 * time.Second, start: (*System).vmagent})
	}
	if installed(tools, "prometheus3") {
		version := moduleVersion(filepath.Join(tools, "prometheus3"))
		kinds = append(kinds, Kind{Name: PrometheusAlone, Write: 1, Version: version, start: (*System).prometheusAlone})
	}
	if installed(tools, "thanos") {
		version := moduleVersion(filepath.Join(tools, "thanos"))
		kinds = append(kinds, Kind{Name: ThanosAlone, Write: 1, Version: version, start: (*System).thanosAlone})
	}
	return kinds
}

func installed(tools, name string) bool {
	_, err := os.Stat(filepath.Join(tools, name))
	return err == nil
}

// Version is what a program says when it is asked, as Prometheus' programs do.
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

// moduleVersion is in the program's name if it was built here.
func moduleVersion(binary string) string {
	target, err := os.Readlink(binary)
	if _, version, ok := strings.Cut(target, "-v"); err == nil && ok {
		return "module v" + version
	}
	return Version(binary)
}

// victoria adds a VictoriaMetrics and returns its URL.
func (s *System) victoria(name string) (string, error) {
	a, err := address()
	if err != nil {
		return "", err
	}
	s.add(name, filepath.Join(s.tools, "victoria-metrics"), "http://"+a+"/health",
		"-httpListenAddr="+a, "-storageDataPath="+s.data(name), "-retentionPeriod=1",
		"-search.latencyOffset=0s", "-search.maxUniqueTimeseries=10000000", "-search.maxFederateSeries=10000000",
		"-search.maxExportSeries=10000000", "-search.maxExportDuration=1h", "-search.maxQueryDuration=1h")
	return "http://" + a, nil
}

func (s *System) vmagent() error {
	first, err := s.victoria("victoria 1")
	if err != nil {
		return err
	}
	second, err := s.victoria("victoria 2")
	if err != nil {
		return err
	}
	a, err := address()
	if err != nil {
		return err
	}
	s.Front = []*Process{s.add("vmagent", filepath.Join(s.tools, "vmagent"), "http://"+a+"/health",
		"-httpListenAddr="+a, "-remoteWrite.tmpDataPath="+s.data("vmagent"),
		"-remoteWrite.url="+first+"/api/v1/write", "-remoteWrite.url="+second+"/api/v1/write")}
	s.WriteURL = "http://" + a + "/api/v1/write"
	s.Servers = s.Processes[:1]
	s.Ways = []Way{
		{"/federate", func(ctx context.Context) (read.Result, error) { return read.Federate(ctx, first) }},
		{"export/native", func(ctx context.Context) (read.Result, error) {
			return read.ExportNative(ctx, first, time.Now().Add(-recent))
		}},
	}
	return nil
}

// prometheusAlone is one that takes remote write itself. An agent before two of
// them is not compared: it passes on no samples from before its start, and so
// cannot be given a load that was made beforehand.
func (s *System) prometheusAlone() error {
	a, err := address()
	if err != nil {
		return err
	}
	file := filepath.Join(s.Dir, "prometheus.yml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	url := "http://" + a
	s.Servers = []*Process{s.add("prometheus", filepath.Join(s.tools, "prometheus3"), url+"/-/ready",
		"--config.file="+file, "--web.listen-address="+a, "--web.enable-remote-write-receiver", "--storage.tsdb.path="+s.data("prometheus"))}
	s.WriteURL = url + "/api/v1/write"
	s.Ways = []Way{
		{"/federate", func(ctx context.Context) (read.Result, error) { return read.Federate(ctx, url) }},
		{"remote read", func(ctx context.Context) (read.Result, error) {
			return read.RemoteRead(ctx, url, time.Now().Add(-recent))
		}},
	}
	return nil
}

// thanosAlone is a receiver that stores what it takes: one copy.
func (s *System) thanosAlone() error {
	a, err := addresses(3)
	if err != nil {
		return err
	}
	ops, write, rpc := a[0], a[1], a[2]
	s.Servers = []*Process{s.add("thanos", filepath.Join(s.tools, "thanos"), "http://"+ops+"/-/ready",
		"receive", "--http-address="+ops, "--remote-write.address="+write, "--grpc-address="+rpc,
		`--label=replica="0"`, "--tsdb.path="+s.data("thanos"), "--log.level=warn")}
	s.WriteURL = "http://" + write + "/api/v1/receive"
	s.Ways = []Way{{"StoreAPI Series", func(ctx context.Context) (read.Result, error) {
		return read.ThanosSeries(ctx, rpc, time.Now().Add(-recent))
	}}}
	return nil
}
