package e2e

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestHangup sends SIGHUP to every program that lasts, by which none ends.
func TestHangup(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1})
	host := harness.Host()
	relay := harness.Start(t, "relay", harness.Binary(t, "prometheus-grpc-client"), "relay",
		"--upstream="+cluster.RPCs(), "--listen="+harness.Address(t, host), "--web.listen-address="+host+":0", "--storage.path="+t.TempDir())
	exporter := harness.Start(t, "exporter", harness.Binary(t, "prometheus-grpc-exporter"),
		"--receiver.listen-address="+host+":0", "--rpc.listen-address="+host+":0", "--storage.path="+filepath.Join(t.TempDir(), "data"))
	exporter.Ready(exporter.Logged("msg=listening", "part=receiver", "listener=web")["address"])
	for _, p := range append(cluster.Processes(), relay, exporter) {
		p.Logged("msg=listening")
		p.Signal(syscall.SIGHUP)
		p.Logged(`msg="nothing to reload, no flag names a file"`)
	}
	cluster.Ready()
	for _, p := range append(cluster.Processes(), relay, exporter) {
		if !p.Running() {
			t.Errorf("%s ended", p.Name)
		}
	}
}
