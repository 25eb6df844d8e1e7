package forwarder

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/promgrpc/exporter/internal/discovery"
)

// A forwarder registers its link port, and sends its log to the link ports of
// the servers in Consul, to those too that have yet to get ready.
func TestConsul(t *testing.T) {
	one := serveReplica(t, t.TempDir(), "127.0.0.1:0")
	_, linkPort, err := net.SplitHostPort(one.addr)
	if err != nil {
		t.Fatal(err)
	}
	var registered atomic.Pointer[api.AgentServiceRegistration]
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
		case path == "health/service/prometheus-api-server":
			if r.URL.Query().Get("index") != "" { // Nothing changes.
				select {
				case <-r.Context().Done():
				case <-time.After(20 * time.Second):
				}
			}
			entries := []*api.ServiceEntry{}
			if !r.URL.Query().Has("passing") {
				entries = append(entries, &api.ServiceEntry{Node: &api.Node{}, Service: &api.AgentService{
					ID: "one", Address: "127.0.0.1", Port: 1, Meta: map[string]string{discovery.MetaLinkPort: linkPort},
				}})
			}
			w.Header().Set("X-Consul-Index", "1")
			_ = json.NewEncoder(w).Encode(entries)
		case path == "agent/service/register":
			s := new(api.AgentServiceRegistration)
			if err := json.NewDecoder(r.Body).Decode(s); err != nil {
				t.Error(err)
			}
			registered.Store(s)
		case r.Method == http.MethodGet && strings.HasPrefix(path, "agent/service/"):
			s := registered.Load()
			_ = json.NewEncoder(w).Encode(api.AgentService{ID: s.ID, Meta: s.Meta})
		case strings.HasPrefix(path, "agent/check/update/"):
		case strings.HasPrefix(path, "agent/service/deregister/"):
			registered.Store(nil)
		default:
			t.Errorf("unexpected request %s", r.URL)
		}
	}))
	defer agent.Close()
	address := strings.TrimPrefix(agent.URL, "http://")

	c := testConfig(t.TempDir())
	c.Consul, c.Server = address, "consul://"+address+"/prometheus-api-server"
	r := start(t, c)
	r.sender().fill(0, 5)
	l, _ := r.appender.log()
	eventually(t, "server is at 5", func() bool { return one.at(l.ID()) == 5 })
	eventually(t, "registered", func() bool { return registered.Load() != nil })
	s := registered.Load()
	port := r.LinkAddr().(*net.TCPAddr).Port
	if s.Name != "metrics-forwarder" || s.Address != "127.0.0.1" || s.Port != port ||
		s.ID != "metrics-forwarder-127.0.0.1-"+strconv.Itoa(port) || len(s.Checks) != 1 || s.Checks[0].Status != api.HealthPassing {
		t.Errorf("registered as %+v", s)
	}
	r.stop()
	if registered.Load() != nil {
		t.Error("not deregistered")
	}
}

func TestConsulAddressIsChecked(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Consul = "nowhere:port"
	if _, err := New(c, discard, nil); err == nil || !strings.Contains(err.Error(), "--consul") {
		t.Errorf("got %v", err)
	}
}
