package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Consul is a single agent that is the server too.
type Consul struct {
	*Process

	// HTTP and DNS are its addresses.
	HTTP, DNS string

	token  string // that may everything; "": there are no tokens
	client *http.Client
	scheme string
	t      testing.TB
}

// StartConsul starts one with the configuration in deploy/ and waits until it
// leads. It keeps its state over restarts.
func StartConsul(t testing.TB) *Consul { return startConsul(t, "") }

func startConsul(t testing.TB, token string, more ...string) *Consul {
	t.Helper()
	host := Host()
	return startConsulAt(t, host, Port(t, host), token, more...)
}

// startConsulAt starts one on a host, with its DNS at a port.
func startConsulAt(t testing.TB, host, dns, token string, more ...string) *Consul {
	t.Helper()
	api := Port(t, host)
	c := newConsul(t, net.JoinHostPort(host, api), net.JoinHostPort(host, dns), nil)
	c.token = token
	c.Process = Start(t, "consul", Tool(t, "consul"), append(c.agent(host), append([]string{"-http-port=" + api}, more...)...)...)
	c.Ready()
	return c
}

// StartSecuredConsul is StartConsul of one with TLS, which makes the tokens of the
// parts itself, and lets nobody do anything without one.
func StartSecuredConsul(t testing.TB, s *Secured) *Consul {
	t.Helper()
	host := Host()
	api, dns := Port(t, host), Port(t, host)
	c := newConsul(t, net.JoinHostPort(host, api), net.JoinHostPort(host, dns), s)
	args := append([]string{s.folder("consul"), Tool(t, "consul")}, c.agent(host)...)
	c.Process = StartEnv(t, "consul", []string{"CONSUL_HTTP_ADDR=https://" + c.HTTP}, File("deploy/consul/secured"),
		append(args, "-config-file=secured.hcl", "-https-port="+api)...)
	c.Ready()
	return c
}

// newConsul returns one that runs elsewhere, by its addresses, secured unless s is nil.
func newConsul(t testing.TB, api, dns string, s *Secured) *Consul {
	c := &Consul{HTTP: api, DNS: dns, client: http.DefaultClient, scheme: "http://", t: t}
	if s != nil {
		c.token, c.client, c.scheme = s.Secret("consul-management.token"), s.client("consul"), "https://"
	}
	return c
}

// agent returns how an agent on a host is started, but for the API.
func (c *Consul) agent(host string) []string {
	c.t.Helper()
	_, dns, _ := net.SplitHostPort(c.DNS)
	return []string{"agent", "-config-file=" + File("deploy/consul/consul.hcl"),
		"-node=e2e", "-bind=" + host, "-client=" + host, "-data-dir=" + c.t.TempDir(), "-disable-host-node-id",
		"-dns-port=" + dns, "-server-port=" + Port(c.t, host), "-serf-lan-port=" + Port(c.t, host), "-serf-wan-port=-1"}
}

// Ready waits until the agent answers, and leads.
func (c *Consul) Ready() {
	c.t.Helper()
	Eventually(c.t, "a leader of Consul", func() bool {
		var leader string
		return c.get("/v1/status/leader", &leader) && leader != ""
	})
}

// Instances returns the instances of a service that are registered, by their
// addresses (host:port), and whether all their checks pass.
func (c *Consul) Instances(service string) map[string]bool {
	c.t.Helper()
	var entries []struct {
		Service struct {
			Address string
			Port    int
		}
		Checks []struct{ Status string }
	}
	c.get("/v1/health/service/"+service, &entries)
	instances := map[string]bool{}
	for _, e := range entries {
		passing := true
		for _, check := range e.Checks {
			passing = passing && check.Status == "passing"
		}
		instances[net.JoinHostPort(e.Service.Address, strconv.Itoa(e.Service.Port))] = passing
	}
	return instances
}

// Heard says whether the agent hears from all instances of a service that they are
// well. It knows before its catalog does.
func (c *Consul) Heard(service string) bool {
	c.t.Helper()
	var instances []any
	return c.get("/v1/agent/health/service/name/"+service, &instances) && len(instances) > 0
}

// SRV returns the addresses (host:port) that Consul's DNS has for a service.
func (c *Consul) SRV(service string) []string { return c.SRVTagged(service, "tcp") }

// SRVTagged is SRV of the instances with a tag.
func (c *Consul) SRVTagged(service, tag string) []string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, c.DNS)
	}}
	_, records, err := resolver.LookupSRV(ctx, service, tag, "service.consul.")
	if err != nil {
		return nil
	}
	var addresses []string
	for _, r := range records {
		hosts, err := resolver.LookupHost(ctx, r.Target)
		if err != nil || len(hosts) == 0 {
			continue
		}
		addresses = append(addresses, net.JoinHostPort(hosts[0], strconv.Itoa(int(r.Port))))
	}
	return addresses
}

// Register registers an instance of a service that nobody checks.
func (c *Consul) Register(service, id, host string, port int) {
	c.t.Helper()
	c.put("/v1/agent/service/register", map[string]any{"Name": service, "ID": id, "Address": host, "Port": port})
}

// Deregister takes it out.
func (c *Consul) Deregister(id string) {
	c.t.Helper()
	c.put("/v1/agent/service/deregister/"+id, nil)
}

func (c *Consul) put(path string, message any) {
	c.t.Helper()
	body, err := json.Marshal(message)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPut, c.scheme+c.HTTP+path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("X-Consul-Token", c.token)
	answer, err := c.client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		c.t.Fatalf("PUT %s: %s", path, answer.Status)
	}
}

func (c *Consul) get(path string, answer any) bool {
	return c.do(http.MethodGet, path, nil, answer)
}

// do makes a request with the token that may everything, and says whether it was
// answered.
func (c *Consul) do(method, path string, question, answer any) bool {
	body, err := json.Marshal(question)
	if err != nil {
		return false
	}
	req, err := http.NewRequest(method, c.scheme+c.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("X-Consul-Token", c.token)
	res, err := c.client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(answer) == nil
}
