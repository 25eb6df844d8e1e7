//go:build compose

package harness

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// composeProject is a name of its own, beside those of a deployment that people
// use on the same machine, and of other tests. `make test-compose` gives it.
var composeProject = cmp.Or(os.Getenv("COMPOSE_TEST_PROJECT"), fmt.Sprint("prometheus-grpc-exporter-test-", os.Getpid()))

// PrometheusPart is one more part that a Compose has.
const PrometheusPart = "prometheus"

// composeServices has the services of docker-compose.yml by the parts that
// they are. The third server comes by --scale.
var composeServices = map[string]string{
	Receiver:         "prometheus-remote-receiver",
	ForwarderPart(1): "metrics-forwarder-1",
	ForwarderPart(2): "metrics-forwarder-2",
	ServerPart(1):    "prometheus-api-server-1",
	ServerPart(2):    "prometheus-api-server-2",
	ServerPart(3):    "prometheus-api-server",
	ConsulPart:       "consul",
	BucketPart:       "bucket",
	HAProxyPart:      "haproxy",
	PrometheusPart:   "prometheus",
	RouterPart(1):    "prometheus-api-router-1",
	RouterPart(2):    "prometheus-api-router-2",
}

// composeOverride is what the tests change: short segments, so that there are
// many of them, and streams that move soon.
const composeOverride = `services:
  metrics-forwarder-1: &forwarder
    environment: {PROMGRPC_STORAGE_SEGMENT_DURATION: 10s}
  metrics-forwarder-2: *forwarder
  prometheus-api-server-1: &server
    environment: {PROMGRPC_STREAM_MAX_AGE: 10s}
  prometheus-api-server-2: *server
  prometheus-api-server: *server
`

// Compose is docker-compose.yml as a target, on a real engine. Its ports are free
// ones, on a loopback address of its own.
//
// A container that ends, and that no method of Compose has ended, fails the
// test.
type Compose struct {
	t          testing.TB
	secured    *Secured // nil: plain
	env        []string
	files      []string
	haproxy    *HAProxy
	consul     *Consul
	prometheus string // its address
	receiver   string
	thanos     string

	settled bool            // nothing is written any more
	lost    map[string]bool // the parts

	mu     sync.Mutex
	ending map[string]int // by service: how often a container may end
}

// NewCompose starts everything, with deploy/secured unless s is nil, and on top of the
// files those of overlays, and waits until every container is healthy. The images have to
// be there. Everything is removed when the test ends.
func NewCompose(t testing.TB, s *Secured, overlays ...string) *Compose {
	t.Helper()
	override := filepath.Join(t.TempDir(), "override.yml")
	if err := os.WriteFile(override, []byte(composeOverride), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Compose{t: t, secured: s, ending: map[string]int{}, lost: map[string]bool{}, files: []string{File("docker-compose.yml")}}
	host, subnet := Host(), freeSubnet(t)
	c.env = []string{"BIND=" + host, "SUBNET=" + subnet}
	if s != nil {
		c.files, c.env = append(c.files, File("deploy/secured/docker-compose.yml")), append(c.env, "SECURED="+s.dir)
	}
	for _, name := range overlays {
		c.files = append(c.files, File(name))
	}
	c.files = append(c.files, override)
	publish := func(variable string) string {
		port := Port(t, host)
		c.env = append(c.env, variable+"="+port)
		return net.JoinHostPort(host, port)
	}
	c.haproxy = &HAProxy{RPC: publish("RPC_PORT"), Web: publish("STATS_PORT"), Secured: s}
	c.consul = newConsul(t, publish("CONSUL_PORT"), subnet+".2:8600", s)
	c.prometheus, c.receiver, c.thanos = publish("PROMETHEUS_PORT"), publish("WRITE_PORT"), publish("THANOS_PORT")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- docker compose ps\n%s", c.compose("ps", "--all"))
			t.Logf("--- docker compose logs\n%s", c.compose("logs", "--no-color", "--timestamps", "--tail=100"))
		}
		c.compose("down", "--volumes", "--remove-orphans", "--timeout=1")
	})
	c.watch()
	start := time.Now()
	c.compose("up", "--detach", "--wait", "--no-build", "--pull=never")
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("all is up after %s", time.Since(start).Round(time.Second))
	c.Healthy()
	c.haproxy.Await(t, 2)
	return c
}

// freeSubnet returns the first three numbers of a network that this machine
// has no address in.
func freeSubnet(t testing.TB) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
next:
	for i := range 100 {
		// Others that look at the same time begin elsewhere.
		subnet := fmt.Sprintf("172.30.%d", 100+(os.Getpid()+i)%100)
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.Contains(net.ParseIP(subnet+".2")) {
				continue next
			}
		}
		return subnet
	}
	t.Fatal("no network is free")
	return ""
}

// HAProxy implements [Target].
func (c *Compose) HAProxy() *HAProxy { return c.haproxy }

// Consul implements [Target].
func (c *Compose) Consul() *Consul { return c.consul }

// Prometheus is the one that scrapes the parts.
func (c *Compose) Prometheus() *Prometheus {
	return &Prometheus{Process: &Process{Name: "prometheus", t: c.t, web: c.secured.client("prometheus")}, address: c.prometheus, user: c.secured.user()}
}

// ThanosURL is the root of the API of the Thanos Query that deploy/thanos adds.
func (c *Compose) ThanosURL() string { return "http://" + c.thanos }

// WriteURL implements [Target].
func (c *Compose) WriteURL() string {
	if c.secured != nil {
		return "https://" + c.secured.user() + c.receiver + "/api/v1/write"
	}
	return "http://" + c.receiver + "/api/v1/write"
}

// Kill implements [Target].
func (c *Compose) Kill(part string) {
	c.t.Helper()
	c.expect(part)
	c.compose("kill", c.service(part))
}

// Lose implements [Target].
func (c *Compose) Lose(part string) {
	c.t.Helper()
	c.Pause(part)
	c.lost[part] = true
}

// replace takes a part away that was lost, with its volume.
func (c *Compose) replace(part string) {
	c.t.Helper()
	c.Kill(part)
	volume := c.docker("inspect", `--format={{range .Mounts}}{{if eq .Destination "/data"}}{{.Name}}{{end}}{{end}}`, c.container(part))
	c.compose("rm", "--force", c.service(part))
	c.docker("volume", "rm", volume)
}

// Pause implements [Target].
func (c *Compose) Pause(part string) {
	c.t.Helper()
	c.compose("kill", "--signal=SIGSTOP", c.service(part))
}

// Continue implements [Target].
func (c *Compose) Continue(part string) {
	c.t.Helper()
	c.compose("kill", "--signal=SIGCONT", c.service(part))
}

// Terminate implements [Target].
func (c *Compose) Terminate(part string) {
	c.t.Helper()
	c.expect(part)
	c.compose("stop", c.service(part))
	code := c.docker("inspect", "--format={{.State.ExitCode}}", c.container(part))
	want := []string{"0"}
	switch part {
	case ConsulPart:
		want = []string{"1"} // It does not leave the cluster, since it is all of it.
	case HAProxyPart:
		want = []string{"0", "143"} // Not all releases count SIGTERM as success.
	}
	if !slices.Contains(want, code) {
		c.t.Errorf("%s ended with the code %s", part, code)
	}
}

// Start implements [Target].
func (c *Compose) Start(part string) {
	c.t.Helper()
	if c.lost[part] {
		delete(c.lost, part)
		c.replace(part)
	}
	switch options := []string{"up", "--detach", "--no-build", "--no-deps", "--no-recreate"}; {
	case c.container(part) == "" && part == ServerPart(3):
		c.compose(append(options, "--scale="+c.service(part)+"=1", c.service(part))...)
	case c.container(part) == "": // It was lost.
		c.compose(append(options, c.service(part))...)
	default:
		// Not by compose, which would wait for what the part depends on.
		c.docker("start", c.container(part))
	}
	Eventually(c.t, part+" to be ready", func() bool { return c.ready(part) })
}

// Recreate replaces the part's container, which keeps its data, as an update
// does. It returns when the part is ready.
func (c *Compose) Recreate(part string) {
	c.t.Helper()
	c.expect(part)
	c.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", c.service(part))
	Eventually(c.t, part+" to be ready", func() bool { return c.ready(part) })
}

// ready does what Docker does every 5s.
func (c *Compose) ready(part string) bool {
	c.t.Helper()
	id := c.container(part)
	var check []string
	if err := json.Unmarshal([]byte(c.docker("inspect", "--format={{json .Config.Healthcheck.Test}}", id)), &check); err != nil || len(check) < 2 {
		c.t.Fatalf("%s has no health check: %v", part, err)
	}
	// It begins with CMD.
	return exec.Command("docker", append([]string{"exec", id}, check[1:]...)...).Run() == nil
}

// Reload implements [Target].
func (c *Compose) Reload() {
	c.t.Helper()
	c.compose("kill", "--signal=SIGUSR2", c.service(HAProxyPart))
}

// Folder implements [Target]: a copy. Since a copy takes its time, nothing may be
// written, not even a tick: Prometheus and the forwarders are stopped first.
func (c *Compose) Folder(part string) string {
	c.t.Helper()
	if !c.settled {
		c.settled = true
		c.Terminate(PrometheusPart)
		c.Terminate(ForwarderPart(1))
		c.Terminate(ForwarderPart(2))
		Eventually(c.t, "all servers to have the same", c.level)
	}
	dir := filepath.Join(c.t.TempDir(), part)
	c.docker("cp", c.container(part)+":/data", dir)
	return dir
}

// level says whether calls, which go to any of the servers, agree on where the
// logs end.
func (c *Compose) level() bool {
	last := ""
	for range 20 {
		scheme := "http://"
		if c.secured != nil {
			scheme = "https://"
		}
		request, err := http.NewRequest(http.MethodPost, scheme+c.haproxy.RPC+"/promgrpc.metrics.v1.MetricsService/GetStatus", strings.NewReader("{}"))
		if err != nil {
			c.t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", c.secured.Authorization())
		_, answer, err := Do(client, request)
		var status struct {
			Logs []struct{ LogId, LastSequence string }
		}
		if err != nil || json.Unmarshal([]byte(answer), &status) != nil || len(status.Logs) == 0 {
			return false
		}
		slices.SortFunc(status.Logs, func(a, b struct{ LogId, LastSequence string }) int { return cmp.Compare(a.LogId, b.LogId) })
		if now := fmt.Sprint(status.Logs); last == "" {
			last = now
		} else if now != last {
			return false
		}
	}
	return true
}

// Logs are what a service has written to its standard output and error.
func (c *Compose) Logs(service string, options ...string) string {
	c.t.Helper()
	return c.compose(append(append([]string{"logs", "--no-color", "--no-log-prefix"}, options...), service)...)
}

// Healthy waits until every container is healthy, and fails the test if one was
// started again by Docker.
func (c *Compose) Healthy() {
	c.t.Helper()
	var states string
	Eventually(c.t, "every container to be healthy", func() bool {
		ids := strings.Fields(c.compose("ps", "--all", "--quiet"))
		states = c.docker(append([]string{"inspect", "--format={{.Name}} {{.State.Health.Status}} {{.RestartCount}}"}, ids...)...)
		for line := range strings.Lines(states) {
			if fields := strings.Fields(line); fields[1] != "healthy" {
				return false
			}
		}
		return true
	})
	for line := range strings.Lines(states) {
		if fields := strings.Fields(line); fields[2] != "0" {
			c.t.Errorf("%s was started again %s times", fields[0], fields[2])
		}
	}
}

// watch fails the test when a container ends by itself.
func (c *Compose) watch() {
	c.t.Helper()
	events := exec.Command("docker", "events", "--filter=label=com.docker.compose.project="+composeProject, "--filter=event=die",
		`--format={{index .Actor.Attributes "com.docker.compose.service"}} {{index .Actor.Attributes "exitCode"}}`)
	// On a pipe rather than in a buffer: it is read as it comes.
	out, err := events.StdoutPipe()
	if err == nil {
		err = startCommand(events)
	}
	if err != nil {
		c.t.Fatalf("docker events: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var service, code string
			if _, err := fmt.Fscanln(out, &service, &code); err != nil {
				return
			}
			c.died(service, code)
		}
	}()
	c.t.Cleanup(func() {
		_ = events.Process.Kill()
		<-ended
		_ = events.Wait()
	})
}

func (c *Compose) died(service, code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending[service] > 0 {
		c.ending[service]--
		return
	}
	c.t.Errorf("%s ended by itself with the code %s:\n%s", service, code, c.Logs(service, "--timestamps", "--tail=200"))
}

// expect says that a part is about to end.
func (c *Compose) expect(part string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending[c.service(part)]++
}

func (c *Compose) service(part string) string {
	c.t.Helper()
	service, ok := composeServices[part]
	if !ok {
		c.t.Fatalf("there is no part %s", part)
	}
	return service
}

// container is the ID of the part's container, empty if there is none.
func (c *Compose) container(part string) string {
	c.t.Helper()
	return c.compose("ps", "--all", "--quiet", c.service(part))
}

// compose runs docker compose with the test's project.
func (c *Compose) compose(args ...string) string {
	c.t.Helper()
	options := []string{"compose", "--project-name=" + composeProject, "--progress=quiet"}
	for _, file := range c.files {
		options = append(options, "--file="+file)
	}
	return c.docker(append(options, args...)...)
}

// docker runs docker, and returns what it printed.
func (c *Compose) docker(args ...string) string {
	c.t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), c.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		// Not Fatal: this also runs where a test cannot be ended.
		c.t.Errorf("docker %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}
