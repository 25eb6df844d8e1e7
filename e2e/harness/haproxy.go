package harness

import (
	"encoding/csv"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// HAProxy is one in master-worker mode, so that it can be reloaded.
type HAProxy struct {
	*Process

	stats string
	t     testing.TB
}

// StartHAProxy starts one with a configuration file and environment variables
// for it (NAME=VALUE), and waits until it serves its stats page at the address
// (host:port/path). A warning about the configuration fails the test.
func StartHAProxy(t testing.TB, config string, env []string, stats string) *HAProxy {
	t.Helper()
	binary := Tool(t, "haproxy")
	check := StartEnv(t, "haproxy -c", env, binary, "-c", "-f", config)
	if code := check.Wait(patience); code != 0 {
		t.Fatalf("haproxy -c -f %s: exit code %d", config, code)
	}
	if warnings := check.Stderr().String(); strings.Contains(warnings, "WARNING") {
		t.Errorf("haproxy -c -f %s: %s", config, warnings)
	}
	h := &HAProxy{Process: StartEnv(t, "haproxy", env, binary, "-W", "-db", "-f", config), stats: stats, t: t}
	h.eventually("its stats page", func() bool { return h.Stats() != nil })
	return h
}

// Reload has a new worker take over, and the old one end when its streams do.
func (h *HAProxy) Reload() {
	h.t.Helper()
	h.Signal(syscall.SIGUSR2)
}

// Stats returns what the stats page has, a row a proxy or server, or nil if it
// does not answer. The names of the columns are HAProxy's.
func (h *HAProxy) Stats() []map[string]string {
	res, err := http.Get("http://" + h.stats + ";csv")
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

// Up returns the names of a backend's servers that take requests.
func (h *HAProxy) Up(backend string) []string {
	var servers []string
	for _, row := range h.Stats() {
		if row["pxname"] == backend && row["svname"] != "BACKEND" && strings.HasPrefix(row["status"], "UP") {
			servers = append(servers, row["svname"])
		}
	}
	return servers
}
