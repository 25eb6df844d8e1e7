package daemon

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func runOps(t *testing.T, scrapes int, reg *prometheus.Registry) (url string) {
	t.Helper()
	c := DefaultOpsConfig()
	c.WebAddress, c.Scrapes = "127.0.0.1:0", scrapes
	w, err := NewOps(c, slog.New(slog.DiscardHandler), reg, func() error { return nil })
	require.NoError(t, err)
	t.Cleanup(runWeb(t, w))
	return "http://" + w.Addr().String() + "/metrics"
}

// Scrapes beyond the limit are refused at once, until others have ended.
func TestScrapes(t *testing.T) {
	const most = 4
	reg := prometheus.NewRegistry()
	arrived, release := make(chan struct{}), make(chan struct{})
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow"}, func() float64 {
		select {
		case arrived <- struct{}{}:
		case <-release:
		}
		<-release
		return 1
	}))
	url := runOps(t, most, reg)
	codes := make(chan int, most)
	for range most / 2 {
		go func() {
			r, err := http.Get(url)
			if err != nil {
				codes <- 0
				return
			}
			r.Body.Close()
			codes <- r.StatusCode
		}()
		<-arrived
	}
	r, err := http.Get(url)
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	require.Contains(t, string(body), "--limit.scrapes")
	code, _ := get(t, strings.TrimSuffix(url, "metrics")+"-/healthy")
	require.Equal(t, http.StatusOK, code)
	close(release)
	for range most / 2 {
		require.Equal(t, http.StatusOK, <-codes)
	}
	code, text := get(t, url)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, `promgrpc_web_over_limit_total{limit="scrapes"} 1`)
}

// Those who do not take what they asked for keep nobody else from scraping.
func TestScrapesThatNobodyReads(t *testing.T) {
	const most = 2
	reg := prometheus.NewRegistry()
	large := strings.Repeat("x", 16<<20) // more than the kernel takes on the way
	gathered := make(chan struct{}, 2*most+1)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "large", Help: large}, func() float64 {
		gathered <- struct{}{}
		return 1
	}))
	url := runOps(t, most, reg)
	address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
	for range 2 * most {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 200 OK")))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		code, _ := get(t, url)
		return code == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond)
	require.Len(t, gathered, 2*most+1, "none was refused")
}

func TestScrapesLimitIsChecked(t *testing.T) {
	c := DefaultOpsConfig()
	c.Scrapes = 0
	_, err := NewOps(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() error { return nil })
	require.ErrorContains(t, err, "--limit.scrapes")
}
