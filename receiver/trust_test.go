package receiver

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/usage"
)

// A receiver writes to forwarders, and to nothing else that has its address.
func TestOnlyForwarders(t *testing.T) {
	private, err := link.NewPrivate()
	require.NoError(t, err)
	for own, ok := range map[access.Role]bool{access.Forwarder: true, access.Server: false, access.Receiver: false} {
		t.Run(string(own), func(t *testing.T) {
			trust, err := private.Trust(own, access.Receiver)
			require.NoError(t, err)
			f := newForwarderBy(t, "127.0.0.1:0", trust, nil)
			r := start(t, []string{f.addr}, func(c *Config) { c.Private = private })
			if ok {
				r.waitFor(t, f.addr)
				return
			}
			require.Eventually(t, func() bool {
				return strings.Contains(r.log.String(), "it is no forwarder")
			}, 30*time.Second, 5*time.Millisecond)
			require.Error(t, r.Ready())
		})
	}
}

func TestTrustInFlags(t *testing.T) {
	c := DefaultConfig()
	c.WebAddress, c.AccessFile = "127.0.0.1:0", filepath.Join(t.TempDir(), "access.yml")
	require.NoError(t, os.WriteFile(c.AccessFile, []byte("roles: {forwarder: [a]}"), 0o600))
	_, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	var mistake *usage.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "--forwarder.tls-ca-file")
}
