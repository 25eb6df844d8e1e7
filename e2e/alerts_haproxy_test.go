//go:build debian

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// alertRules is a file of which some alert is pending, another one fires, and a third one
// is kept firing at any time: the series of the sender cross the line one after the other.
const alertRules = `
groups:
- name: sent
  interval: 1s
  rules:
  - record: phase
    expr: (sent_total{job="alerts"} + 40000 * (sent_total{job="alerts"} - floor(sent_total{job="alerts"}))) % 480
  - alert: Half
    expr: phase >= 240
    for: 4s
    keep_firing_for: 4s
    labels: {severity: page}
    annotations: {summary: '{{ $labels.series }} has {{ $value | printf "%.0f" }}'}
`

// keptFiring is keep_firing_for of alertRules.
const keptFiring = 4 * time.Second

// told is a change of an alert, as the client tells it.
type told struct {
	Name, State, Previous, Value string
	Labels, Annotations          map[string]string
	At, ActiveAt                 time.Time
	FiredAt                      *time.Time
}

// key is what two changes that are the same have in common.
func (a told) key() string {
	text, _ := json.Marshal(a) // texts and times can be marshalled
	return string(text)
}

func parseTold(t *testing.T, text []byte) (all []told) {
	t.Helper()
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // It is being written.
		}
		var a told
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("alert %q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// alertClient is a client that evaluates alertRules and tells others of alerts.
type alertClient struct {
	*harness.Process
	t        *testing.T
	name     string
	commands string        // file that --exec writes to; "": none
	manager  *alertManager // nil: none
	crashes  bool
	crashed  []time.Time // steps after which it was killed
}

// told is what came to whom the client tells of alerts.
func (c *alertClient) told() []told {
	c.t.Helper()
	if c.commands == "" {
		return parseTold(c.t, c.Stdout().Bytes())
	}
	text, err := os.ReadFile(c.commands)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return parseTold(c.t, text)
}

// newest is the last step at which an alert changed that was told of.
func (c *alertClient) newest() (at time.Time) {
	c.t.Helper()
	if all := c.told(); len(all) > 0 {
		at = all[len(all)-1].At
	}
	return at
}

// crash kills the client, and starts it again.
func (c *alertClient) crash() {
	c.t.Helper()
	c.Kill()
	c.crashed = append(c.crashed, c.newest())
	c.Restart()
}

// alertManager is an Alertmanager that notes what it is sent.
type alertManager struct {
	url string
	mu  sync.Mutex
	got map[string][]episode // by labels, in order, what was sent again once
}

// episode is an alert from when it fires on. It ends at 0 while it does.
type episode struct{ start, end int64 }

func newAlertManager(t *testing.T) *alertManager {
	m := &alertManager{got: map[string][]episode{}}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

// ServeHTTP takes alerts, as Alertmanager's API does.
func (m *alertManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var alerts []struct {
		Labels           map[string]string
		StartsAt, EndsAt time.Time
	}
	if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil || r.URL.Path != "/api/v2/alerts" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range alerts {
		is := episode{start: a.StartsAt.UnixMilli()}
		if a.EndsAt.Before(time.Now()) {
			is.end = a.EndsAt.UnixMilli()
		}
		m.note(labelsKey(a.Labels), is)
	}
}

func (m *alertManager) note(key string, is episode) {
	if before := m.got[key]; len(before) == 0 || before[len(before)-1] != is {
		m.got[key] = append(before, is)
	}
}

func labelsKey(labels map[string]string) string {
	text, _ := json.Marshal(labels) // sorted
	return string(text)
}

// until is what it was sent that happened by a time.
func (m *alertManager) until(end time.Time) map[string][]episode {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := map[string][]episode{}
	for key, all := range m.got {
		all = slices.DeleteFunc(slices.Clone(all), func(e episode) bool { return max(e.start, e.end) > end.UnixMilli() })
		if len(all) > 0 {
			got[key] = all
		}
	}
	return got
}

// episodes is what an Alertmanager has to be sent of changes.
func episodes(all []told) map[string][]episode {
	m := &alertManager{got: map[string][]episode{}}
	for _, a := range all {
		switch a.State {
		case "firing":
			m.note(labelsKey(a.Labels), episode{start: a.FiredAt.UnixMilli()})
		case "resolved":
			m.note(labelsKey(a.Labels), episode{start: a.FiredAt.UnixMilli(), end: a.At.UnixMilli()})
		}
	}
	return m.got
}

// TestAlertsFailover evaluates rules through HAProxy, over each protocol, while servers
// are killed, stopped and drained and clients are killed. What commands and Alertmanagers
// are told is what each server comes to in the end: each change once, but for those that a
// client was killed right after.
func TestAlertsFailover(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	sender := harness.NewSender(t, target.WriteURL(), "alerts", 12)
	sender.Start(50 * time.Millisecond)
	harness.Eventually(t, "samples", func() bool { return len(sender.Acknowledged()) > 100 })
	dir, since := t.TempDir(), time.Now().Truncate(time.Second).Add(time.Second)
	rules := filepath.Join(dir, "rules.yml")
	if err := os.WriteFile(rules, []byte(alertRules), 0o600); err != nil {
		t.Fatal(err)
	}
	terms := []string{"alerts", "--rules=" + rules, "--since=" + strconv.FormatInt(since.UnixMilli(), 10), "--delay=2s", "--output=json"}
	start := func(name, protocol string, crashes bool, managed bool) *alertClient {
		c := &alertClient{t: t, name: name, crashes: crashes}
		args := append(slices.Clone(terms), "--heartbeat=1s", "--address="+target.HAProxy().RPC, "--protocol="+protocol,
			"--cursor-file="+filepath.Join(dir, name+".cursor"))
		if managed {
			c.manager = newAlertManager(t)
			args = append(args, "--alertmanager="+c.manager.url, "--alertmanager-resend=15s")
		} else {
			c.commands = filepath.Join(dir, name)
			args = append(args, "--exec=cat >>"+c.commands)
		}
		c.Process = harness.Start(t, name, harness.Binary(t, "prometheus-grpc-client"), args...)
		return c
	}
	var clients []*alertClient
	for _, protocol := range protocols {
		clients = append(clients, start("commands-"+protocol, protocol, false, false))
	}
	clients = append(clients,
		start("alertmanager", "grpc", false, true),
		start("commands-crashing", "grpc", true, false),
		start("alertmanager-crashing", "connect", true, true),
	)
	disturbed := disturbAlerts(t, target, clients)

	end := time.Now()
	for _, c := range clients {
		c.Signal(syscall.SIGINT)
		if code := c.Wait(time.Minute); code != 0 {
			t.Errorf("%s ended with the code %d", c.name, code)
		}
		// Of the last step it may have told a part.
		if at := c.newest().Add(-time.Second); at.Before(end) {
			end = at
		}
	}
	for n := range target.Servers {
		code, stdout, stderr := harness.Client(t, append(slices.Clone(terms), "--no-follow", "--address="+target.RPC(n),
			"--end="+strconv.FormatInt(end.UnixMilli(), 10))...)
		want := parseTold(t, stdout)
		if code != 0 {
			t.Fatalf("server %d: the client ended with the code %d: %s", n+1, code, stderr)
		}
		requireStates(t, want, disturbed)
		for _, c := range clients {
			c.compare(fmt.Sprintf("%s, and server %d", c.name, n+1), want, end)
		}
	}
}

// disturbAlerts kills, stops and drains each server, with clients that crash meanwhile,
// and returns the steps that clients had come to then.
func disturbAlerts(t *testing.T, target *harness.Local, clients []*alertClient) (at []time.Time) {
	await := func(what string) {
		t.Helper()
		start := time.Now()
		for _, c := range clients {
			harness.Eventually(t, what+": "+c.name, func() bool { return c.newest().After(start) })
		}
		t.Logf("%s: changes at all clients after %s", what, time.Since(start).Round(time.Millisecond))
	}
	disturb := func(what string, do func(part string), part string) {
		t.Helper()
		at = append(at, clients[0].newest())
		do(part)
		for _, c := range clients {
			if c.crashes {
				c.crash()
			}
		}
		await(part + " " + what)
	}
	await("both servers up")
	for n := 1; n <= 2; n++ {
		server := harness.ServerPart(n)
		disturb("killed", target.Kill, server)
		target.Start(server)
		target.HAProxy().Await(t, 2)
		disturb("stopped", target.Pause, server)
		target.Continue(server)
		target.HAProxy().Await(t, 2)
		disturb("drained", target.Terminate, server)
		target.Start(server)
		target.HAProxy().Await(t, 2)
	}
	await("both servers up again")
	return at
}

// requireStates requires that alerts were pending, firing and kept firing when servers
// were disturbed.
func requireStates(t *testing.T, want []told, disturbed []time.Time) {
	t.Helper()
	var pending, firing, kept int
	for _, at := range disturbed {
		for _, a := range want {
			if a.State != "resolved" || a.ActiveAt.After(at) || !a.At.After(at) {
				continue
			}
			switch {
			case a.FiredAt.After(at):
				pending++
			case a.At.Add(-keptFiring).After(at):
				firing++
			default:
				kept++
			}
		}
	}
	if t.Logf("of %d changes, at %d disturbances: %d pending, %d firing, %d kept firing", len(want), len(disturbed), pending, firing, kept); pending == 0 || firing == 0 || kept == 0 {
		t.Error("an alert in each of these states is wanted")
	}
}

// compare compares what the client told with what is wanted, up to a step.
func (c *alertClient) compare(what string, want []told, end time.Time) {
	c.t.Helper()
	if c.manager != nil {
		wanted, got := episodes(want), c.manager.until(end)
		for key := range wanted {
			if !slices.Equal(wanted[key], got[key]) {
				c.t.Errorf("%s: of %s the Alertmanager was sent %v, want %v", what, key, got[key], wanted[key])
			}
		}
		if len(got) != len(wanted) {
			c.t.Errorf("%s: the Alertmanager was sent %d alerts, want %d", what, len(got), len(wanted))
		}
		return
	}
	got, again := []string{}, map[string]bool{}
	for _, a := range c.told() {
		switch {
		case a.At.After(end):
		case again[a.key()] && slices.ContainsFunc(c.crashed, a.At.Equal):
			// It was killed before it could keep the cursor.
		default:
			got = append(got, a.key())
			again[a.key()] = true
		}
	}
	wanted := []string{}
	for _, a := range want {
		wanted = append(wanted, a.key())
	}
	if !slices.Equal(got, wanted) {
		c.t.Errorf("%s: it told of %d changes, want %d; the first that differs is\n%s", what, len(got), len(wanted), firstOther(got, wanted))
	}
}

func firstOther(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("%v\n%v", got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
	return ""
}
