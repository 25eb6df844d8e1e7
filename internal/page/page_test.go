package page_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/page"
)

// answer of a server.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks a server that has the page and one call beside it.
func get(t *testing.T, method, path string, header http.Header) answer {
	mux := http.NewServeMux()
	mux.HandleFunc("/package.Service/Call", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	page.Handle(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	req, err := http.NewRequest(method, server.URL+path, nil)
	require.NoError(t, err)
	// Set, so that the client does not decompress by itself.
	req.Header.Set("Accept-Encoding", "identity")
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := server.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res.StatusCode, res.Header, body}
}

var reference = regexp.MustCompile(`(?:src|href)="([^"]*)"`)

func TestPageHasAllThatItNames(t *testing.T) {
	res := get(t, http.MethodGet, "/", nil)
	require.Equal(t, http.StatusOK, res.status)
	require.Equal(t, "text/html; charset=utf-8", res.header.Get("Content-Type"))
	require.Equal(t, "no-cache", res.header.Get("Cache-Control"))
	require.Contains(t, res.header.Get("Content-Security-Policy"), "default-src 'none'")
	html := string(res.body)
	require.NotContains(t, html, "{{")
	references := reference.FindAllStringSubmatch(html, -1)
	require.NotEmpty(t, references)
	for _, match := range references {
		linked := get(t, http.MethodGet, match[1], nil)
		assert.Equal(t, http.StatusOK, linked.status, match[1])
		assert.NotEmpty(t, linked.body, match[1])
		assert.NotEqual(t, "application/octet-stream", linked.header.Get("Content-Type"), match[1])
		if strings.HasPrefix(match[1], "/assets/") {
			assert.Contains(t, linked.header.Get("Cache-Control"), "immutable", match[1])
		}
	}
	assert.Contains(t, html, `href="/docs/"`)
	assert.Contains(t, html, `href="/openapi.yaml"`)
}

var target = regexp.MustCompile(`id="([^"]*)"`)

func TestReference(t *testing.T) {
	res := get(t, http.MethodGet, "/docs/", nil)
	require.Equal(t, http.StatusOK, res.status)
	require.Equal(t, "text/html; charset=utf-8", res.header.Get("Content-Type"))
	require.Contains(t, res.header.Get("Content-Security-Policy"), "default-src 'none'")
	html := string(res.body)
	targets := map[string]bool{}
	for _, match := range target.FindAllStringSubmatch(html, -1) {
		targets[match[1]] = true
	}
	references := reference.FindAllStringSubmatch(html, -1)
	require.NotEmpty(t, references)
	for _, match := range references {
		if name, within := strings.CutPrefix(match[1], "#"); within {
			assert.True(t, targets[name], "%s is linked and is not there", name)
			continue
		}
		linked := get(t, http.MethodGet, match[1], nil)
		assert.Equal(t, http.StatusOK, linked.status, match[1])
		assert.Equal(t, "no-cache", linked.header.Get("Cache-Control"), match[1])
		assert.NotEqual(t, "application/octet-stream", linked.header.Get("Content-Type"), match[1])
	}
	messages := metricsv1.File_promgrpc_metrics_v1_metrics_proto.Messages()
	for i := range messages.Len() {
		assert.True(t, targets[string(messages.Get(i).FullName())], messages.Get(i).FullName())
	}
	methods := metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService").Methods()
	for i := range methods.Len() {
		assert.True(t, targets[string(methods.Get(i).FullName())], methods.Get(i).FullName())
	}
}

func TestOpenAPI(t *testing.T) {
	res := get(t, http.MethodGet, "/openapi.yaml", nil)
	require.Equal(t, http.StatusOK, res.status)
	require.Equal(t, "application/yaml", res.header.Get("Content-Type"))
	var document struct {
		OpenAPI string `yaml:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]any
	}
	require.NoError(t, yaml.Unmarshal(res.body, &document))
	assert.Equal(t, "3.1.0", document.OpenAPI)
	assert.NotEmpty(t, document.Info.Title)
	assert.NotEmpty(t, document.Info.Version)
	for _, path := range []string{metricsv1connect.MetricsServiceGetMetricsProcedure, metricsv1connect.MetricsServiceGetStatusProcedure} {
		assert.Contains(t, document.Paths, path)
	}
}

func TestGzip(t *testing.T) {
	plain := get(t, http.MethodGet, "/", nil).body
	for accept, want := range map[string]string{
		"gzip":                    "gzip",
		"br, gzip;q=0.5":          "gzip",
		"deflate, gzip;q=1.0, *":  "gzip",
		"gzip;q=0":                "",
		"br":                      "",
		"gzip;q=x":                "",
		"x-gzip-like, identity":   "",
		"identity;q=1, gzip; q=1": "gzip",
	} {
		res := get(t, http.MethodGet, "/", http.Header{"Accept-Encoding": {accept}})
		require.Equal(t, want, res.header.Get("Content-Encoding"), accept)
		content := res.body
		if want != "" {
			unpacked, err := gzip.NewReader(bytes.NewReader(content))
			require.NoError(t, err)
			content, err = io.ReadAll(unpacked)
			require.NoError(t, err)
		}
		require.Equal(t, plain, content, accept)
		etag := res.header.Get("ETag")
		again := get(t, http.MethodGet, "/", http.Header{"Accept-Encoding": {accept}, "If-None-Match": {etag}})
		require.Equal(t, http.StatusNotModified, again.status)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	for path, want := range map[string]int{
		"/package.Service/Call": http.StatusTeapot,
		"/assets/":              http.StatusNotFound,
		"/assets/../page.go":    http.StatusNotFound,
		"/index.html":           http.StatusNotFound,
		"/other":                http.StatusNotFound,
		"/docs":                 http.StatusOK, // by a redirect
		"/docs/page.go":         http.StatusNotFound,
	} {
		require.Equal(t, want, get(t, http.MethodGet, path, nil).status, path)
	}
	require.Equal(t, http.StatusTeapot, get(t, http.MethodPost, "/package.Service/Call", nil).status)
	require.Equal(t, http.StatusMethodNotAllowed, get(t, http.MethodPost, "/", nil).status)
	head := get(t, http.MethodHead, "/", nil)
	require.Equal(t, http.StatusOK, head.status)
	require.Empty(t, head.body)
}
