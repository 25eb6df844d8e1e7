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
		require.True(t, strings.HasPrefix(match[1], "/assets/"), match[1])
		asset := get(t, http.MethodGet, match[1], nil)
		assert.Equal(t, http.StatusOK, asset.status, match[1])
		assert.Contains(t, asset.header.Get("Cache-Control"), "immutable", match[1])
		assert.NotEmpty(t, asset.header.Get("Content-Type"), match[1])
		assert.NotEmpty(t, asset.body, match[1])
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
	} {
		require.Equal(t, want, get(t, http.MethodGet, path, nil).status, path)
	}
	require.Equal(t, http.StatusTeapot, get(t, http.MethodPost, "/package.Service/Call", nil).status)
	require.Equal(t, http.StatusMethodNotAllowed, get(t, http.MethodPost, "/", nil).status)
	head := get(t, http.MethodHead, "/", nil)
	require.Equal(t, http.StatusOK, head.status)
	require.Empty(t, head.body)
}
