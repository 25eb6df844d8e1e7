package daemon

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
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
