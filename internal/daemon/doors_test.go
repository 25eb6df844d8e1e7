package daemon

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/authority"
)

// A page of others is refused before a password is asked for, and every answer says that
// its type is not to be guessed.
func TestDoorsAreBeforePasswords(t *testing.T) {
	c := DefaultOpsConfig()
	c.WebAddress, c.WebConfigFile = "127.0.0.1:0", webConfig(t, "")
	w, err := NewOps(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() error { return nil })
	require.NoError(t, err)
	defer runWeb(t, w)()
	for name, test := range map[string]struct {
		path, host, site string
		status           int
	}{
		"no password":   {"/metrics", "", "", http.StatusUnauthorized},
		"another site":  {"/metrics", "", "cross-site", http.StatusForbidden},
		"another name":  {"/metrics", "evil.example", "", http.StatusMisdirectedRequest},
		"is it alive":   {"/-/healthy", "health.example", "", http.StatusOK},
		"is it ready":   {"/-/ready", "", "", http.StatusOK},
		"ask from page": {"/-/ready", "", "cross-site", http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.Addr().String()+test.path, nil)
		require.NoError(t, err)
		r.Host = test.host
		r.Header.Set("Sec-Fetch-Site", test.site)
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, test.status, answer.StatusCode, name)
		require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"), name)
	}
}

// Over TLS the certificate has the name, by which nobody else's page can come.
func TestNamesOverTLS(t *testing.T) {
	ca, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	pair, err := ca.Issue(authority.Request{Names: []string{"127.0.0.1"}})
	require.NoError(t, err)
	config := webConfig(t, "tls_server_config:\n  cert_file: cert.pem\n  key_file: cert-key.pem\n")
	require.NoError(t, pair.Write(filepath.Dir(config), "cert"))
	address := startOps(t, config, func() error { return nil })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true}}
	for _, host := range []string{"", "metrics.example.org"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		require.NoError(t, err)
		r.Host = host
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusUnauthorized, answer.StatusCode, "the password is what it lacks")
	}
}
