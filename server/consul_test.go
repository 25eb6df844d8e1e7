package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consul records the calls to its agent.
type consul struct {
	mu      sync.Mutex
	service api.AgentServiceRegistration
	told    []string
}

func (c *consul) events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// tell adds an event, unless it is the same again.
func (c *consul) tell(event string) {
	if len(c.told) == 0 || c.told[len(c.told)-1] != event {
		c.told = append(c.told, event)
	}
}

// start returns the agent's address.
func (c *consul) start(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		checkID := ""
		if len(c.service.Checks) > 0 {
			checkID = c.service.Checks[0].CheckID
		}
		switch strings.TrimPrefix(r.URL.Path, "/v1/agent/") {
		case "service/register":
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&c.service))
			c.tell("register " + c.service.Checks[0].Status)
		case "service/" + c.service.ID:
			assert.NoError(t, json.NewEncoder(w).Encode(api.AgentService{ID: c.service.ID, Meta: c.service.Meta}))
		case "service/deregister/" + c.service.ID:
			c.tell("deregister")
		case "check/update/" + checkID:
			var update struct{ Status, Output string }
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&update))
			c.tell(update.Status + " " + update.Output)
		default:
			t.Errorf("unexpected request %s", r.URL)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// directory is a Consul that knows servers.
type directory struct {
	mu        sync.Mutex
	servers   []net.Addr // of their RPC ports
	index     int
	questions int
}

func (d *directory) set(servers ...*instance) {
	var addresses []net.Addr
	for _, s := range servers {
		addresses = append(addresses, s.RPCAddr())
	}
	d.name(addresses...)
}

// name sets where servers are, or what passes for them.
func (d *directory) name(addresses ...net.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers = addresses
	d.index++
}

func (d *directory) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.questions
}

// start returns what it is called where peers are named.
func (d *directory) start(t *testing.T) string {
	d.index = 1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/v1/health/service/prometheus-api-server", r.URL.Path)
		wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
		for began := time.Now(); ; {
			d.mu.Lock()
			index, servers := strconv.Itoa(d.index), d.servers
			answer := r.URL.Query().Get("index") != index || time.Since(began) > wait
			if answer {
				d.questions++
			}
			d.mu.Unlock()
			if answer {
				entries := []api.ServiceEntry{}
				for _, server := range servers {
					address := server.(*net.TCPAddr)
					entries = append(entries, api.ServiceEntry{Node: &api.Node{}, Service: &api.AgentService{
						ID: address.String(), Address: address.IP.String(), Port: address.Port,
					}})
				}
				w.Header().Set("X-Consul-Index", index)
				_ = json.NewEncoder(w).Encode(entries)
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return "consul://" + strings.TrimPrefix(s.URL, "http://") + "/prometheus-api-server"
}

// A server registers what others need to find it. When it ends it is taken out
// before its streams end, and deregistered after that.
func TestConsul(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	var agent consul
	c := testConfig(t)
	c.Instance, c.Consul = "one", agent.start(t)
	s := start(t, c)
	require.Eventually(t, func() bool { return len(agent.events()) > 0 }, patience, time.Millisecond)
	src.feed(s.Server)
	s.await(t, src)
	require.Eventually(t, func() bool { return len(agent.events()) == 2 }, patience, time.Millisecond)

	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	agent.mu.Lock()
	r := agent.service
	agent.mu.Unlock()
	require.Equal(t, "prometheus-api-server", r.Name)
	require.Equal(t, "127.0.0.1", r.Address)
	require.Equal(t, port(s.RPCAddr()), r.Port)
	require.Equal(t, []string{"grpc", "connect"}, r.Tags)
	require.Equal(t, "one", r.Meta["instance"])
	require.Equal(t, strconv.Itoa(port(s.LinkAddr())), r.Meta["link_port"])
	require.Equal(t, strconv.Itoa(port(s.WebAddr())), r.Meta["web_port"])
	require.Equal(t, s.RPCAddr().String(), r.Checks[1].GRPC)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	recv := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true})
	until(t, recv, isSynced)
	began := time.Now()
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	require.Eventually(t, func() bool { return len(agent.events()) == 3 }, patience, time.Millisecond)
	require.Less(t, time.Since(began), time.Second)
	at := now()
	src.write(point{series: "a", t: at, v: 2})
	m, err := recv()
	require.NoError(t, err, "it is still fed, and streams")
	require.Len(t, m.GetTimeseries(), 1)
	for err == nil {
		_, err = recv()
	}
	requireCode(t, connect.CodeUnavailable, err)
	<-stopped
	require.GreaterOrEqual(t, time.Since(began), 2*time.Second, "the balancer needs time to see it")
	require.Equal(t, []string{"register critical", "passing ready", "critical the server is shutting down", "deregister"}, agent.events())
}

// An agent asks the health service by what the RPC port speaks, and not at all where it
// would need a certificate.
func TestConsulAsksOverTLS(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		want       []string
	}{
		{"cleartext", "", []string{"ttl", "grpc"}},
		{"TLS", rpcTLS, []string{"ttl", "grpc over tls"}},
		{"TLS, with a certificate if there is one", rpcTLS + "  client_ca_file: ca.pem\n  client_auth_type: VerifyClientCertIfGiven\n", []string{"ttl", "grpc over tls"}},
		{"mTLS", rpcMTLS, []string{"ttl"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			agent := &consul{}
			config := newCerts(t).config(tc.file)
			config.Instance, config.Consul = "one", agent.start(t)
			start(t, config)
			require.Eventually(t, func() bool { return len(agent.events()) > 0 }, patience, time.Millisecond)
			agent.mu.Lock()
			defer agent.mu.Unlock()
			var got []string
			for _, c := range agent.service.Checks {
				switch {
				case c.GRPC == "":
					got = append(got, "ttl")
				case c.GRPCUseTLS && c.TLSSkipVerify:
					got = append(got, "grpc over tls")
				default:
					got = append(got, "grpc")
				}
			}
			require.Equal(t, tc.want, got)
		})
	}
}
