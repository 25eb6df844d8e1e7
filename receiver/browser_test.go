package receiver

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A page that a browser has from elsewhere stores nothing: neither by what it may send
// without being asked, nor under a name of its own that it lets point here.
func TestPagesOfOthersStoreNothing(t *testing.T) {
	f := newForwarder(t, "127.0.0.1:0")
	r := startWith(t, func(c *Config) { c.WebHosts = []string{"*.example.org"} }, f)
	write := func(header ...string) answer {
		return r.do(t, http.MethodPost, "/api/v1/write", typeV1, bytes.NewReader(block("x")), header...)
	}
	const evil = "https://evil.example"
	for name, header := range map[string][]string{
		"no-cors fetch of bytes":      {"Content-Type", "", "Content-Encoding", "", "Origin", evil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
		"no-cors fetch of text":       {"Content-Type", "text/plain", "Content-Encoding", "", "Origin", evil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"},
		"form":                        {"Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", "", "Origin", evil, "Sec-Fetch-Site", "cross-site"},
		"beacon to a network address": {"Content-Type", "", "Content-Encoding", "", "Origin", evil},
		"page of another port":        {"Content-Type", "", "Content-Encoding", "", "Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"},
		"sandboxed frame":             {"Content-Type", "", "Content-Encoding", "", "Origin", "null"},
	} {
		a := write(header...)
		require.Equal(t, http.StatusForbidden, a.code, name)
		require.Contains(t, a.body, "another origin")
	}
	r.host = "evil.example"
	a := write("Origin", "http://evil.example")
	require.Equal(t, http.StatusMisdirectedRequest, a.code)
	require.Contains(t, a.body, "--web.allowed-host")
	for _, path := range []string{"/metrics", "/"} {
		require.Equal(t, http.StatusMisdirectedRequest, r.do(t, http.MethodGet, path, "", nil).code)
	}
	require.Equal(t, http.StatusOK, r.do(t, http.MethodGet, "/-/ready", "", nil).code)
	require.Empty(t, f.got())

	for _, r.host = range []string{"", "localhost:1", "receiver", "receiver.ns.svc.cluster.local:8080", "metrics.example.org"} {
		a := write()
		require.Equal(t, http.StatusNoContent, a.code, a.body)
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
	}
	counted := r.do(t, "GET", "/metrics", "", nil, "Accept", "text/plain").body
	require.Contains(t, counted, `promgrpc_web_refused_requests_total{code="403"} 6`)
	require.Contains(t, counted, `promgrpc_web_refused_requests_total{code="421"} 3`)
	require.Contains(t, r.log.String(), `msg="request of a web page refused"`)
}
