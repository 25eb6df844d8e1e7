package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/daemon"
)

// Where ports are taken, the exporter says all of them at once, who has them, and
// by which flags others are chosen.
func TestPortsAreTaken(t *testing.T) {
	taken := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	c := defaultConfig()
	c.StoragePath = t.TempDir()
	c.receiverAddress, c.rpcAddresses = taken(), []string{taken(), "127.0.0.1:0", taken()}
	_, err := newExporter(c, &daemon.Env{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	require.Error(t, err)
	for address, flag := range map[string]string{
		c.receiverAddress: flagReceiverAddress, c.rpcAddresses[0]: flagRPCAddress, c.rpcAddresses[2]: flagRPCAddress,
	} {
		require.ErrorContains(t, err, flag+"="+address+": address already in use by ")
	}
	require.ErrorContains(t, err, fmt.Sprint("(process ", os.Getpid(), ")"))
	require.ErrorContains(t, err, "--rpc.listen-address=HOST:PORT or PROMGRPC_RPC_LISTEN_ADDRESS")
}
