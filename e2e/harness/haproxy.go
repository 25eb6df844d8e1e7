//go:build debian || compose

package harness

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// HAProxy is one in master-worker mode, so that it can be reloaded.
type HAProxy struct {
	*Process

	// RPC is the address of the API, Web that of the stats page.
	RPC, Web string

	// Secured has what clients need, nil if that is nothing.
	Secured *Secured
}

// StartSecuredHAProxy is StartHAProxy of one with TLS, a certificate for servers, and
// a password for the stats page.
func StartSecuredHAProxy(t testing.TB, consul *Consul, s *Secured) *HAProxy {
	t.Helper()
	return startHAProxy(t, &HAProxy{Secured: s}, consul, "CERTS="+s.folder("haproxy"), "STATS_PASSWORD="+s.Secret("admin.password"))
}

// StartHAProxy starts one with the configuration in deploy/, which finds the
// API servers at a Consul, and more environment variables, each NAME=VALUE. A
// warning about the configuration fails the test.
func StartHAProxy(t testing.TB, consul *Consul, more ...string) *HAProxy {
	t.Helper()
	return startHAProxy(t, &HAProxy{}, consul, more...)
}

func startHAProxy(t testing.TB, h *HAProxy, consul *Consul, more ...string) *HAProxy {
	t.Helper()
	binary, config, host := Tool(t, "haproxy"), File("deploy/haproxy/haproxy.cfg"), Host()
	h.RPC, h.Web = Address(t, host), Address(t, host)
	env := append([]string{"RPC_BIND=" + h.RPC, "STATS_BIND=" + h.Web, "NAMESERVER=" + consul.DNS}, more...)
	check := StartEnv(t, "haproxy -c", env, binary, "-c", "-f", config)
	code := check.Wait(patience)
	if warnings := check.Stderr().String(); code != 0 || strings.Contains(warnings, "WARNING") {
		t.Fatalf("haproxy -c -f %s: exit code %d: %s", config, code, warnings)
	}
	h.Process = StartEnv(t, "haproxy", env, binary, "-W", "-db", "-f", config)
	h.eventually("its stats page", func() bool { return h.Stats() != nil })
	return h
}

// ToRouters is the environment of an HAProxy that sends calls to routers.
const ToRouters = "API_SRV=_prometheus-api-router._tcp.service.consul"

// Await waits until HAProxy sends calls to that many servers.
func (h *HAProxy) Await(t testing.TB, servers int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d servers in HAProxy", servers), func() bool { return len(h.Up()) == servers })
}

// Stats returns what the stats page has, a row a proxy or server, or nil if it
// does not answer. The names of the columns are HAProxy's.
func (h *HAProxy) Stats() []map[string]string {
	// A connection of its own: after a reload an old one leads to the old worker.
	transport, url := &http.Transport{DisableKeepAlives: true}, "http://"+h.Web+"/;csv"
	if s := h.Secured; s != nil {
		transport.TLSClientConfig, url = s.tls("client"), "https://admin:"+s.Secret("admin.password")+"@"+h.Web+"/;csv"
	}
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	records, err := csv.NewReader(res.Body).ReadAll()
	if err != nil || len(records) == 0 {
		return nil
	}
	records[0][0] = strings.TrimPrefix(records[0][0], "# ")
	rows := []map[string]string{}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, column := range records[0] {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// rows of the API servers in a backend, one a place.
func (h *HAProxy) rows(backend string) (places []map[string]string) {
	for _, row := range h.Stats() {
		if row["pxname"] == backend && row["svname"] != "BACKEND" {
			places = append(places, row)
		}
	}
	return places
}

// Servers returns the rows of the API servers that are known.
func (h *HAProxy) Servers() (known []map[string]string) {
	for _, row := range h.rows("api") {
		if !strings.HasPrefix(row["status"], "MAINT") {
			known = append(known, row)
		}
	}
	return known
}

// Places returns how many API servers there is room for.
func (h *HAProxy) Places() int { return len(h.rows("api")) }

// Unchecked returns how many calls are under way since no server passes its check.
func (h *HAProxy) Unchecked() int {
	for _, row := range h.Stats() {
		if row["pxname"] == "unchecked" && row["svname"] == "BACKEND" {
			n, _ := strconv.Atoi(row["scur"])
			return n
		}
	}
	return 0
}

// Up returns the names of the API servers that take requests.
func (h *HAProxy) Up() []string {
	var servers []string
	for _, row := range h.rows("api") {
		if strings.HasPrefix(row["status"], "UP") {
			servers = append(servers, row["svname"])
		}
	}
	return servers
}
