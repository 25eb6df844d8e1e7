package discovery

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

// agent speaks as much of the HTTP API of Consul's agent as is used.
type agent struct {
	t       testing.TB
	address string
	server  *http.Server

	mu       sync.Mutex
	index    uint64
	changed  chan struct{}
	entries  map[string]*api.ServiceEntry // By ID.
	checks   map[string]string            // Status of the checks that are reported to.
	requests map[string]int               // By the first words of the path.
	token    string
	wanted   string // token; "": any
}

// startAgent starts one at an address, "127.0.0.1:0" for any.
func startAgent(t testing.TB, address string) *agent {
	t.Helper()
	a := &agent{
		t: t, index: 1, changed: make(chan struct{}),
		entries: map[string]*api.ServiceEntry{}, checks: map[string]string{}, requests: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health/service/{name}", a.health)
	mux.HandleFunc("GET /v1/agent/service/{id}", a.service)
	mux.HandleFunc("PUT /v1/agent/service/register", a.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", a.deregister)
	mux.HandleFunc("PUT /v1/agent/check/update/{id}", a.report)
	a.server = &http.Server{Handler: a.guard(mux)}
	var l net.Listener
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		var err error
		l, err = net.Listen("tcp", address)
		require.NoError(t, err)
	}, patience, 10*time.Millisecond)
	a.address = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = a.server.Serve(l) }()
	t.Cleanup(func() { a.stop(); <-done })
	return a
}

// guard lets in who has the token, if one is wanted.
func (a *agent) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		wanted := a.wanted
		a.mu.Unlock()
		if wanted != "" && r.Header.Get("X-Consul-Token") != wanted {
			http.Error(w, "ACL not found", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *agent) want(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = token
}

func (a *agent) stop() { _ = a.server.Close() }

// change changes the state, and wakes those who wait for that.
func (a *agent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) set(entries ...*api.ServiceEntry) {
	a.change(func() {
		clear(a.entries)
		for _, e := range entries {
			a.entries[e.Service.ID] = e
		}
	})
}

func (a *agent) get(id string) *api.ServiceEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entries[id]
}

func (a *agent) check(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.checks[id]
}

func (a *agent) health(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	a.mu.Lock()
	a.requests["health"]++
	a.token = r.Header.Get("X-Consul-Token")
	timeout := time.After(wait)
	for a.index == index {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
			index = 0
		case <-r.Context().Done():
			return
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	answer := []*api.ServiceEntry{}
	for _, e := range a.entries {
		passing := e.Checks.AggregatedStatus() == api.HealthPassing
		tagged := !q.Has("tag") || slices.Contains(e.Service.Tags, q.Get("tag"))
		if e.Service.Service == r.PathValue("name") && tagged && (passing || !q.Has("passing")) {
			answer = append(answer, e)
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	assert.NoError(a.t, json.NewEncoder(w).Encode(answer))
}

func (a *agent) register(w http.ResponseWriter, r *http.Request) {
	var s api.AgentServiceRegistration
	if !assert.NoError(a.t, json.NewDecoder(r.Body).Decode(&s)) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.change(func() {
		a.requests["register"]++
		e := entry(s.ID, net.JoinHostPort(s.Address, strconv.Itoa(s.Port)), "")
		e.Service.Service, e.Service.Tags, e.Service.Meta = s.Name, s.Tags, s.Meta
		e.Checks = nil
		for _, c := range s.Checks {
			e.Checks = append(e.Checks, &api.HealthCheck{CheckID: c.CheckID, Status: c.Status, Definition: api.HealthCheckDefinition{}, Output: c.GRPC})
			if c.TTL != "" {
				a.checks[c.CheckID] = c.Status
			}
		}
		a.entries[s.ID] = e
	})
}

func (a *agent) service(w http.ResponseWriter, r *http.Request) {
	e := a.get(r.PathValue("id"))
	if e == nil {
		http.Error(w, "unknown service ID", http.StatusNotFound)
		return
	}
	assert.NoError(a.t, json.NewEncoder(w).Encode(e.Service))
}

func (a *agent) deregister(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if a.get(id) == nil {
		http.Error(w, "Unknown service ID", http.StatusNotFound)
		return
	}
	a.change(func() {
		delete(a.entries, id)
		for check := range a.checks {
			if strings.HasPrefix(check, id) {
				delete(a.checks, check)
			}
		}
	})
}

func (a *agent) report(w http.ResponseWriter, r *http.Request) {
	var update struct{ Status, Output string }
	assert.NoError(a.t, json.NewDecoder(r.Body).Decode(&update))
	id := r.PathValue("id")
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.checks[id]; !ok {
		http.Error(w, "Unknown check ID", http.StatusNotFound)
		return
	}
	a.checks[id] = update.Status
}

// entry is a healthy instance of the service "s", unless a status is given.
func entry(id, address, status string) *api.ServiceEntry {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	if status == "" {
		status = api.HealthPassing
	}
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "node", Address: "192.0.2.1"},
		Service: &api.AgentService{ID: id, Service: "s", Address: host, Port: n},
		Checks:  api.HealthChecks{{Status: status}},
	}
}
