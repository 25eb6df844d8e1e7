package server_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/router"
)

// A router registers as a service of its own, and is taken out when it ends.
func TestRouterInConsul(t *testing.T) {
	two := newTwoGroups(t)
	var agent consul
	address := agent.start(t)
	r := startRouter(t, two, func(c *router.Config) { c.Instance, c.Consul, c.DrainDelay = "one", address, 0 })
	require.Eventually(t, func() bool { return len(agent.events()) == 2 }, patience, time.Millisecond)
	agent.mu.Lock()
	service := agent.service
	agent.mu.Unlock()
	require.Equal(t, "prometheus-api-router", service.Name)
	require.Equal(t, "one", service.Meta["instance"])
	require.Equal(t, r.address(), service.Checks[1].GRPC)
	r.stop()
	require.Equal(t, []string{"register critical", "passing ready"}, agent.events()[:2])
	require.Equal(t, "deregister", agent.events()[len(agent.events())-1])
}

// Prometheus' HTTP API of a router is of the series of all groups.
func TestRouterAsPrometheus(t *testing.T) {
	two := newTwoGroups(t)
	at := now()
	for i, group := range []string{"a", "b"} {
		two.sources[i].write(point{series: `both{group="` + group + `"}`, t: at, v: float64(i + 1)})
	}
	two.await(t)
	r := startRouter(t, two)
	res, err := http.Get("http://" + r.address() + "/api/v1/query?" + url.Values{"query": {"sum(both)"}}.Encode())
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	require.Contains(t, string(body), `"3"]`)
}
