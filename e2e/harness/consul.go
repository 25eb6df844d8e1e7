package harness

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
)

// Consul is a single agent that is the server too.
type Consul struct {
	*Process

	// HTTP and DNS are its addresses.
	HTTP, DNS string

	t testing.TB
}

// StartConsul starts one with the configuration in deploy/ and waits until it
// leads. It keeps its state over restarts.
func StartConsul(t testing.TB) *Consul {
	t.Helper()
	host := Host()
	c := &Consul{HTTP: host + ":8500", DNS: host + ":8600", t: t}
	c.Process = Start(t, "consul", Tool(t, "consul"), "agent", "-config-file="+filepath.Join(root(), "deploy/consul/consul.hcl"),
		"-node=e2e", "-bind="+host, "-client="+host, "-data-dir="+t.TempDir(), "-disable-host-node-id")
	c.Ready()
	return c
}

// Ready waits until the agent answers, and leads.
func (c *Consul) Ready() {
	c.t.Helper()
	c.eventually("leadership", func() bool {
		var leader string
		return c.get("/v1/status/leader", &leader) && leader != ""
	})
}

// Healthy returns the addresses (host:port) of a service's instances whose
// checks pass.
func (c *Consul) Healthy(service string) []string {
	c.t.Helper()
	var instances []struct {
		Service struct {
			Address string
			Port    json.Number
		}
	}
	if !c.get("/v1/health/service/"+service+"?passing=1", &instances) {
		return nil
	}
	var addresses []string
	for _, i := range instances {
		addresses = append(addresses, i.Service.Address+":"+i.Service.Port.String())
	}
	return addresses
}

// Services returns the names of all services, with their tags.
func (c *Consul) Services() map[string][]string {
	c.t.Helper()
	services := map[string][]string{}
	c.get("/v1/catalog/services", &services)
	return services
}

func (c *Consul) get(path string, answer any) bool {
	res, err := http.Get("http://" + c.HTTP + path)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(answer) == nil
}
