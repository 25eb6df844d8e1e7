package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/throttle"
)

// webConfig writes a web config file. The password of the user me is "secret".
func webConfig(t *testing.T, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "web.yml")
	text := more + "basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// Who is turned away before any handler of ours is counted and told, since a sender
// may drop for good what it cannot deliver. Whether the program is ready is told to
// everybody.
func TestStrangersAreCounted(t *testing.T) {
	var log syncBuffer
	reg := prometheus.NewRegistry()
	c := DefaultOpsConfig()
	c.WebAddress, c.WebConfigFile = "127.0.0.1:0", webConfig(t, "")
	w, err := NewOps(c, slog.New(slog.NewTextHandler(&log, nil)), reg, func() error { return nil })
	require.NoError(t, err)
	defer runWeb(t, w)()
	do := func(method, path, password string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.Addr().String()+path, nil)
		require.NoError(t, err)
		if password != "" {
			r.SetBasicAuth("me", password)
		}
		return answered(t, r)
	}
	for _, path := range []string{"/metrics", "/elsewhere", "/-/healthy/", "/-/ready/../../metrics"} {
		code, _ := do("GET", path, "")
		require.Equal(t, http.StatusUnauthorized, code, path)
		code, _ = do("GET", path, "wrong")
		require.Equal(t, http.StatusUnauthorized, code, path)
	}
	code, _ := do("POST", "/-/ready", "")
	require.Equal(t, http.StatusUnauthorized, code)
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		code, _ = do("GET", path, "")
		require.Equal(t, http.StatusOK, code, path)
	}
	code, _ = do("GET", "/metrics", "secret")
	require.Equal(t, http.StatusOK, code)
	code, body := do("POST", "/elsewhere", "secret")
	require.Equal(t, http.StatusNotFound, code)
	require.Equal(t, "nothing takes POST \"/elsewhere\" here: GET /metrics, /-/healthy and /-/ready are there\n", body)
	code, _ = do("GET", "/favicon.ico", "secret")
	require.Equal(t, http.StatusNotFound, code)

	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP promgrpc_web_refused_requests_total Requests to the HTTP server that came to nothing that is there, by status code: 401 without the name and password of --web.config.file, 429 over its rate limit, 503 while too many passwords are checked, 404 for an unknown path, 403 of a web page of another origin, 421 by a name that --web.allowed-host does not have.
# TYPE promgrpc_web_refused_requests_total counter
promgrpc_web_refused_requests_total{code="401"} 9
promgrpc_web_refused_requests_total{code="404"} 2
`), "promgrpc_web_refused_requests_total"))
	text := log.String()
	require.Equal(t, throttle.Burst, strings.Count(text, `msg="request refused by the web config file" status=401`), text)
	require.Contains(t, text, "path=/metrics")
	require.Equal(t, 1, strings.Count(text, `msg="request for what is not there"`), "a browser that looks for an icon loses nothing")
}

func answered(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if r.ProtoMajor == 2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, r.ProtoMajor, response.ProtoMajor)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// HTTP/2 without TLS is served to whoever knows that it is there, also through a
// password, and ends with a drain.
func TestWebServesHTTP2WithoutTLS(t *testing.T) {
	for _, config := range []string{"", webConfig(t, "")} {
		c := DefaultOpsConfig()
		c.WebAddress, c.WebConfigFile = "127.0.0.1:0", config
		w, err := NewOps(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() error { return nil })
		require.NoError(t, err)
		stop := runWeb(t, w)
		for _, path := range []string{"/-/ready", "/metrics"} {
			r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+w.Addr().String()+path, nil)
			require.NoError(t, err)
			r.SetBasicAuth("me", "secret")
			r.ProtoMajor = 2
			code, _ := answered(t, r)
			require.Equal(t, http.StatusOK, code)
		}
		stop()
	}
	c := DefaultOpsConfig()
	c.WebAddress, c.WebConnStreams = "127.0.0.1:0", 0
	_, err := NewOps(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() error { return nil })
	require.ErrorContains(t, err, flagWebConnStreams)
}

// The other answers of the web config file's own are counted and told as well.
func TestWebConfigRefusals(t *testing.T) {
	var log syncBuffer
	reg := prometheus.NewRegistry()
	c := onAnyPort(webConfig(t, "rate_limit:\n  interval: 1h\n  burst: 2\n"))
	c.PasswordChecks = 1
	w, err := NewOps(c, slog.New(slog.NewTextHandler(&log, nil)), reg, func() error { return nil })
	require.NoError(t, err)
	defer runWeb(t, w)()
	url := "http://" + w.Addr().String()
	for range 2 {
		code, _ := get(t, url+"/metrics")
		require.Equal(t, http.StatusUnauthorized, code)
	}
	code, _ := get(t, url+"/metrics")
	require.Equal(t, http.StatusTooManyRequests, code)
	code, _ = get(t, url+"/-/ready")
	require.Equal(t, http.StatusOK, code)
	for _, want := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		require.Contains(t, log.String(), fmt.Sprintf(`msg="request refused by the web config file" status=%d`, want))
	}
	n, err := testutil.GatherAndCount(reg, "promgrpc_web_refused_requests_total")
	require.NoError(t, err)
	require.Equal(t, 3, n, "401, 404 and 429")
}

// Whoever guesses passwords is told to come later, and others are let in.
func TestPasswordGuesses(t *testing.T) {
	reg := prometheus.NewRegistry()
	// The password "secret" at some cost, so that a wrong one takes its time.
	file := filepath.Join(t.TempDir(), "web.yml")
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost+4)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "basic_auth_users:\n  me: %s\n", hash), 0o600))
	c := onAnyPort(file)
	c.PasswordChecks = 4
	w, err := NewOps(c, slog.New(slog.DiscardHandler), reg, func() error { return nil })
	require.NoError(t, err)
	defer runWeb(t, w)()
	ask := func(password string) int {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+w.Addr().String()+"/metrics", nil)
		require.NoError(t, err)
		r.SetBasicAuth("me", password)
		code, _ := answered(t, r)
		return code
	}
	require.Equal(t, http.StatusOK, ask("secret"))
	var wg sync.WaitGroup
	var refused atomic.Int32
	for i := range 10 * c.PasswordChecks {
		wg.Go(func() {
			switch code := ask(fmt.Sprint("guess-", i)); code {
			case http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				assert.Equal(t, http.StatusUnauthorized, code)
			}
		})
	}
	require.Eventually(t, func() bool { return refused.Load() > 0 }, 30*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, ask("secret"), "what was right needs no check")
	wg.Wait()
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(`
# HELP promgrpc_web_over_limit_total Connections to the HTTP server closed, and scrapes and passwords refused, because of a limit, by the name of its flag without --limit.
# TYPE promgrpc_web_over_limit_total counter
promgrpc_web_over_limit_total{limit="password-checks"} %d
promgrpc_web_over_limit_total{limit="web-connections"} 0
`, refused.Load())), "promgrpc_web_over_limit_total"))
}
