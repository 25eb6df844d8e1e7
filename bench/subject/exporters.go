package subject

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Exporters are programs that people run, each with a page of metrics, and a Prometheus
// that scrapes them and writes to a URL by remote write 2.0. The project's parts are
// among them, and get the same samples. HAProxy is in front of those that have an HTTP
// API: it takes the name of the host that a request is for as the name of a process.
func Exporters(write string) Kind {
	return Kind{Name: "exporters", Write: 2, start: func(s *System) error { return s.exporters(write) }}
}

// Behind are the exporters that HAProxy passes requests to.
var Behind = []string{"consul", "prometheus", "pushgateway"}

func (s *System) exporters(write string) error {
	a, err := addresses(8)
	if err != nil {
		return err
	}
	// It is the first, so that it stops while the others can take what it has left to send.
	scraper := s.add("prometheus", filepath.Join(s.tools, "prometheus3"), "http://"+a[3]+"/-/ready")
	if err := s.project(1, parts{}); err != nil {
		return err
	}
	tool := func(name string) string { return filepath.Join(s.tools, name) }
	node, push, consul, prometheus := a[0], a[1], a[2], a[3]
	// No collector tells what machine this is.
	s.add("node", tool("node-exporter"), "http://"+node+"/", append([]string{
		"--web.listen-address=" + node, "--collector.disable-defaults",
	}, collectors()...)...)
	s.add("pushgateway", tool("pushgateway"), "http://"+push+"/-/ready", "--web.listen-address="+push)
	telemetry, err := s.file("consul.hcl", "telemetry {\n  prometheus_retention_time = \"10m\"\n  disable_hostname = true\n}\ndisable_update_check = true\n")
	if err != nil {
		return err
	}
	s.add("consul", tool("consul"), "http://"+consul+"/v1/status/leader", "agent", "-dev", "-node=consul-0", "-disable-host-node-id",
		"-config-file="+telemetry, "-bind=127.0.0.1", "-http-port="+port(consul), "-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
		"-server-port="+port(a[4]), "-serf-lan-port="+port(a[5]), "-serf-wan-port=-1")
	if err := s.front(a[6], a[7], map[string]string{"consul": consul, "prometheus": prometheus, "pushgateway": push}); err != nil {
		return err
	}
	config, err := s.scrapeConfig(write)
	if err != nil {
		return err
	}
	scraper.args = []string{
		"--config.file=" + config, "--web.listen-address=" + prometheus, "--storage.tsdb.path=" + s.data("prometheus"),
		"--enable-feature=metadata-wal-records",
	}
	return nil
}

// collectors of the node exporter that have numbers alone.
func collectors() (flags []string) {
	for _, name := range []string{
		"cpu", "diskstats", "entropy", "filefd", "loadavg", "meminfo", "netdev", "netstat", "pressure", "schedstat", "sockstat",
		"softnet", "stat", "time", "timex", "vmstat",
	} {
		flags = append(flags, "--collector."+name)
	}
	return flags
}

// front adds an HAProxy with a page of metrics.
func (s *System) front(address, metrics string, backends map[string]string) error {
	config := `global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend metrics
  bind ` + metrics + `
  http-request use-service prometheus-exporter if { path /metrics }
  monitor-uri /ready
frontend web
  bind ` + address + `
  use_backend %[req.hdr(host)]
`
	for _, name := range Behind {
		config += fmt.Sprintf("backend %s\n  server %s %s check\n", name, name, backends[name])
	}
	file, err := s.file("front.cfg", config)
	if err != nil {
		return err
	}
	s.add("haproxy", filepath.Join(s.tools, "haproxy"), "http://"+metrics+"/ready", "-f", file, "-db")
	s.Balancer = address
	return nil
}

// scrapeConfig writes a configuration with which Prometheus scrapes all processes, where
// they say that they are ready, with the labels of targets in Kubernetes.
func (s *System) scrapeConfig(write string) (file string, err error) {
	config := "global:\n  scrape_interval: 2s\n  scrape_native_histograms: true\nremote_write:\n"
	for _, to := range []string{write, s.WriteURL} {
		config += "- url: " + to + "\n  protobuf_message: io.prometheus.write.v2.Request\n  send_native_histograms: true\n"
	}
	config += "scrape_configs:\n"
	for _, p := range s.Processes {
		at, err := url.Parse(p.ready)
		if err != nil {
			return "", err
		}
		name := strings.ReplaceAll(p.Name, " ", "-")
		config += "- job_name: " + name + "\n"
		if p.Name == "consul" {
			config += "  metrics_path: /v1/agent/metrics\n  params: {format: [prometheus]}\n"
		}
		config += "  static_configs:\n  - targets: ['" + at.Host + "']\n" +
			"    labels: {cluster: eu-west-1, namespace: production, node: worker, pod: " + name + ", container: " + name + "}\n"
	}
	return s.file("prometheus.yml", config)
}

// file writes a file for a process, and returns its name.
func (s *System) file(name, text string) (string, error) {
	path := filepath.Join(s.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
