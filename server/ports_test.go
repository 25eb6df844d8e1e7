package server

import (
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each listener of a server, and that of a relay, names the flag of its address
// where that is taken.
func TestPortsAreTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().String()
	for flag, set := range map[string]func(c *Config){
		"--link.listen-address": func(c *Config) { c.LinkAddress = taken },
		"--rpc.listen-address":  func(c *Config) { c.RPCAddress = taken },
		"--web.listen-address":  func(c *Config) { c.WebAddress = taken },
		"--listen":              func(c *Config) { c.Upstream, c.RPCAddress = "127.0.0.1:1", taken },
	} {
		t.Run(flag, func(t *testing.T) {
			c := DefaultConfig()
			c.StoragePath = t.TempDir()
			c.LinkAddress, c.RPCAddress, c.WebAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
			set(&c)
			_, err := New(c, slog.New(slog.DiscardHandler), nil)
			require.ErrorContains(t, err, flag+"="+taken+": address already in use by ")
			require.ErrorContains(t, err, "choose another by "+flag+"=HOST:PORT or PROMGRPC_")
		})
	}
}
