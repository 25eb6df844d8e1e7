package peer_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/peer"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"the remote address", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"a stranger's word is not taken", "192.0.2.1:1234", []string{"192.0.2.9"}, "192.0.2.1"},
		{"a proxy's is", "10.0.0.7:1234", []string{"192.0.2.9"}, "192.0.2.9"},
		{"only what the proxy added", "10.0.0.7:1234", []string{"192.0.2.66, 192.0.2.67", "192.0.2.9"}, "192.0.2.9"},
		{"through two of them", "10.0.0.7:1234", []string{"192.0.2.66, 192.0.2.9, 10.1.2.3"}, "192.0.2.9"},
		{"a proxy that says nothing", "10.0.0.7:1234", nil, "10.0.0.7"},
		{"a proxy that says nonsense", "10.0.0.7:1234", []string{"192.0.2.66, unknown"}, "10.0.0.7"},
		{"IPv6 is a network", "[2001:db8:1:2:3:4:5:6]:1234", nil, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1234", nil, "192.0.2.1"},
		{"not an address", "@", nil, "@"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := peer.ParseProxies([]string{"10.0.0.7", "10.1.0.0/16"})
			require.NoError(t, err)
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			require.Equal(t, c.want, p.Of(r))
		})
	}
}

// A proxy that is known otherwise than by its address is one hop.
func TestOfProxied(t *testing.T) {
	p, err := peer.ParseProxies([]string{"10.0.0.7"})
	require.NoError(t, err)
	for forwarded, want := range map[string]string{
		"":                         "192.0.2.1",
		"192.0.2.9":                "192.0.2.9",
		"192.0.2.66, 192.0.2.9":    "192.0.2.9",
		"192.0.2.66, 10.0.0.7":     "192.0.2.66",
		"192.0.2.66, nonsense":     "192.0.2.1",
		"10.0.0.7, 192.0.2.9":      "192.0.2.9",
		"192.0.2.66,192.0.2.9, ::": "::/64",
	} {
		r := &http.Request{RemoteAddr: "192.0.2.1:1234", Header: http.Header{"X-Forwarded-For": {forwarded}}}
		require.Equal(t, want, p.OfProxied(r), forwarded)
	}
}

func TestTrusted(t *testing.T) {
	p, err := peer.ParseProxies([]string{"10.1.0.0/16", "2001:db8::1"})
	require.NoError(t, err)
	require.True(t, p.Trusted("10.1.2.3:80"))
	require.True(t, p.Trusted("[2001:db8::1]:80"))
	require.False(t, p.Trusted("10.2.2.3:80"))
	require.False(t, peer.Proxies(nil).Trusted("10.2.2.3:80"))
}

func TestParseProxies(t *testing.T) {
	_, err := peer.ParseProxies([]string{"10.0.0.0/8", "haproxy"})
	require.ErrorContains(t, err, `"haproxy"`)
}

func TestAt(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":              "192.0.2.1",
		"192.0.2.1":                   "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[::ffff:192.0.2.1]:1234":     "192.0.2.1",
		"@":                           "@",
		"[fe80::1:2:3:4%eth0]:1234":   "fe80::/64",
	} {
		require.Equal(t, want, peer.At(remote))
	}
}
