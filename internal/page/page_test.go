package page_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/page"
)

// get asks a server that has the page and one call beside it.
func get(t *testing.T, method, path string, header http.Header) *http.Response {
	mux := http.NewServeMux()
	mux.HandleFunc("/package.Service/Call", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	page.Handle(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	req, err := http.NewRequest(method, server.URL+path, nil)
	require.NoError(t, err)
	// Set, so that the client does not decompress by itself.
	req.Header.Set("Accept-Encoding", "identity")
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := server.Client().Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func body(t *testing.T, r io.Reader) string {
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

var reference = regexp.MustCompile(`(?:src|href)="([^"]*)"`)

func TestPageHasAllThatItNames(t *testing.T) {
	res := get(t, http.MethodGet, "/", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	require.Equal(t, "no-cache", res.Header.Get("Cache-Control"))
	require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
	html := body(t, res.Body)
	require.NotContains(t, html, "{{")
	references := reference.FindAllStringSubmatch(html, -1)
	require.NotEmpty(t, references)
	for _, match := range references {
		require.True(t, strings.HasPrefix(match[1], "/assets/"), match[1])
		asset := get(t, http.MethodGet, match[1], nil)
		assert.Equal(t, http.StatusOK, asset.StatusCode, match[1])
		assert.Contains(t, asset.Header.Get("Cache-Control"), "immutable", match[1])
		assert.NotEmpty(t, asset.Header.Get("Content-Type"), match[1])
		assert.NotEmpty(t, body(t, asset.Body), match[1])
	}
}

func TestGzip(t *testing.T) {
	plain := body(t, get(t, http.MethodGet, "/", nil).Body)
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
		require.Equal(t, want, res.Header.Get("Content-Encoding"), accept)
		content := io.Reader(res.Body)
		if want != "" {
			var err error
			content, err = gzip.NewReader(content)
			require.NoError(t, err)
		}
		require.Equal(t, plain, body(t, content), accept)
		etag := res.Header.Get("ETag")
		again := get(t, http.MethodGet, "/", http.Header{"Accept-Encoding": {accept}, "If-None-Match": {etag}})
		require.Equal(t, http.StatusNotModified, again.StatusCode)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	for path, want := range map[string]int{
		"/package.Service/Call": http.StatusTeapot,
		"/assets/":              http.StatusNotFound,
		"/assets/../page.go":    http.StatusNotFound,
		"/index.html":           http.StatusNotFound,
		"/other":                http.StatusNotFound,
	} {
		require.Equal(t, want, get(t, http.MethodGet, path, nil).StatusCode, path)
	}
	require.Equal(t, http.StatusTeapot, get(t, http.MethodPost, "/package.Service/Call", nil).StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, get(t, http.MethodPost, "/", nil).StatusCode)
	head := get(t, http.MethodHead, "/", nil)
	require.Equal(t, http.StatusOK, head.StatusCode)
	require.Empty(t, body(t, head.Body))
}
