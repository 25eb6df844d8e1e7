// Package page serves the web page of a server: live series, charts and the
// state of the replica. It is built from clients/web by make web into built/,
// which is committed, so that Go alone builds a server. Beside it are the API
// reference and the OpenAPI description, as generated from api/.
//
// A page loads nothing from elsewhere and calls nothing but the server that it
// came from; its Content-Security-Policy holds it to that.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/promgrpc/exporter/gen"
)

//go:embed built docs
var embedded embed.FS

// policy of what the page may do. It sets styles of elements by script only,
// which needs no permission.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// file is one of the page, ready to be sent.
type file struct {
	contentType string
	etag        string
	cache       string
	plain       []byte
	gzipped     []byte
}

// files by their paths in URLs. They are compressed once, when the first is
// asked for.
var files = sync.OnceValues(load)

// Handle adds the page to mux: GET / and what lies below /assets/, the API
// reference below /docs/, and /openapi.yaml. No other path is touched.
func Handle(mux *http.ServeMux) {
	for _, path := range []string{"/{$}", "/assets/", "/docs/", "/openapi.yaml"} {
		mux.HandleFunc("GET "+path, serve)
	}
}

// load returns what is served, by path.
func load() (map[string]*file, error) {
	contents := map[string][]byte{"/docs/index.html": gen.Reference, "/openapi.yaml": gen.OpenAPI}
	err := fs.WalkDir(embedded, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		contents["/"+strings.TrimPrefix(name, "built/")] = content
		if strings.HasPrefix(name, "built/assets/icon-") {
			contents["/docs/icon.svg"] = content
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the page: %w", err)
	}
	loaded := make(map[string]*file)
	for at, content := range contents {
		if loaded[at], err = newFile(at, content); err != nil {
			return nil, fmt.Errorf("load %s: %w", at, err)
		}
	}
	return loaded, nil
}

func newFile(at string, content []byte) (*file, error) {
	sum := sha256.Sum256(content)
	f := &file{contentType: contentType(at), etag: hex.EncodeToString(sum[:8]), cache: "no-cache", plain: content}
	if strings.HasPrefix(at, "/assets/") {
		// The name changes with the content.
		f.cache = "public, max-age=31536000, immutable"
	}
	var gzipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&gzipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if gzipped.Len() < len(content) {
		f.gzipped = gzipped.Bytes()
	}
	return f, nil
}

// contentType by the name's ending, not by what the machine has configured.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".yaml":
		return "application/yaml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func serve(w http.ResponseWriter, r *http.Request) {
	all, err := files()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	at := r.URL.Path
	if strings.HasSuffix(at, "/") {
		at += "index.html"
	}
	f := all[at]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Add("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	if f.gzipped != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		body, etag = f.gzipped, f.etag+"-gzip"
	}
	etag = strconv.Quote(etag)
	header.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		header.Del("Content-Type")
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // It is the reader who is gone; for HEAD nothing is sent.
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(header string) bool {
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		if !found {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}
