package browser

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHosts(t *testing.T) {
	own, err := os.Hostname()
	require.NoError(t, err)
	h, err := NewHosts("--host", []string{"Metrics.Example.org", "*.apps.example.org."})
	require.NoError(t, err)
	for host, allowed := range map[string]bool{
		"":                         true, // HTTP/1.0
		"127.0.0.1:8080":           true,
		"192.0.2.7":                true,
		"[::1]:8080":               true,
		"[fe80::1%25eth0]:80":      true,
		"[2001:db8::1]":            true,
		"localhost:8080":           true,
		"LocalHost.":               true,
		"a.localhost":              true,
		"receiver:8080":            true,
		own:                        true,
		strings.ToUpper(own):       true,
		"receiver.ns.svc:8080":     true,
		"a.ns.svc.cluster.local":   true,
		"server.service.consul":    true,
		"a.europe.c.x.internal":    true,
		"metrics.example.org:8090": true,
		"METRICS.example.org.":     true,
		"a.apps.example.org":       true,
		"a.b.apps.example.org":     true,

		"apps.example.org":       false,
		"evil.example":           false,
		"evil.example:8080":      false,
		"xmetrics.example.org":   false,
		"a.metrics.example.org":  false,
		"xapps.example.org":      false,
		"127.0.0.1.evil.example": false,
		"localhost.evil.example": false,
		"notlocalhost.example":   false,
		"printer.local":          false,
		"receiver.ns":            false,
		"127.1":                  false,
		":8080":                  false,
		".":                      false,
		"a.internal.example":     false,
		"svc.evil.example:80:80": false,
	} {
		refused := h.check(host)
		require.Equal(t, allowed, refused == nil, host)
		if refused != nil {
			require.Equal(t, http.StatusMisdirectedRequest, refused.Status)
			require.ErrorContains(t, refused, "--host")
		}
	}
	anyName, err := NewHosts("--host", []string{"*"})
	require.NoError(t, err)
	require.Nil(t, anyName.check("evil.example"))
	long := h.check(strings.Repeat("é.", 5000))
	require.Less(t, len(long.Error()), 500)
}

func TestHostsAreChecked(t *testing.T) {
	for _, pattern := range []string{"", "*.", "a*", "*.*", "a.*", "http://a", "a/b", "a:80", "[::1]", "a b", "a,b"} {
		_, err := NewHosts("--host", []string{"a.example", pattern})
		require.ErrorContains(t, err, "--host: ", pattern)
	}
}

func FuzzHosts(f *testing.F) {
	for _, host := range []string{"", "a:1", "[::1]:1", "a.b", "*", "evil.example:80", "[", "]:", "%zz"} {
		f.Add(host)
	}
	h, err := NewHosts("--host", []string{"*.example.org"})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, host string) {
		refused := h.check(host)
		if strings.HasSuffix(host, ".evil.example") || strings.HasSuffix(host, ".evil.example:80") {
			require.NotNil(t, refused)
		}
		if refused != nil {
			require.Less(t, len(refused.Error()), 1000)
		}
	})
}

// What browsers send, and what is made of it.
func TestOrigins(t *testing.T) {
	h := func(pairs ...string) http.Header {
		header := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			header.Set(pairs[i], pairs[i+1])
		}
		return header
	}
	const good, evil = "https://good.example", "https://evil.example"
	type allowed struct{ nobody, one, anyone bool }
	always, never := allowed{true, true, true}, allowed{false, false, true}
	for name, test := range map[string]struct {
		method string
		header http.Header
		want   allowed
	}{
		"a sender":                          {"POST", h(), always},
		"a scrape":                          {"GET", h(), always},
		"own page":                          {"POST", h("Origin", "http://here:1", "Sec-Fetch-Site", "same-origin"), always},
		"own page, GET":                     {"GET", h("Sec-Fetch-Site", "same-origin"), always},
		"own page, host without Sec-Fetch":  {"POST", h("Origin", "http://here:1"), always},
		"address bar":                       {"GET", h("Sec-Fetch-Site", "none"), always},
		"no-cors fetch":                     {"POST", h("Origin", evil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), never},
		"form":                              {"POST", h("Origin", evil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), never},
		"sandboxed form":                    {"POST", h("Origin", "null", "Sec-Fetch-Site", "cross-site"), never},
		"sandboxed, without Sec-Fetch":      {"POST", h("Origin", "null"), never},
		"page of another port":              {"POST", h("Origin", "http://here:2", "Sec-Fetch-Site", "same-site"), never},
		"other port, without Sec-Fetch":     {"POST", h("Origin", "http://here:2"), never},
		"beacon, without Sec-Fetch":         {"POST", h("Origin", evil), never},
		"PUT":                               {"PUT", h("Origin", evil, "Sec-Fetch-Site", "cross-site"), never},
		"image":                             {"GET", h("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), never},
		"script of another port":            {"GET", h("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"), never},
		"HEAD":                              {"HEAD", h("Origin", evil, "Sec-Fetch-Site", "cross-site"), never},
		"frame":                             {"GET", h("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), never},
		"prefetch":                          {"GET", h("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch;prerender"), never},
		"cors fetch by GET, old browser":    {"GET", h("Origin", evil), never},
		"link":                              {"GET", h("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), always},
		"preflight":                         {"OPTIONS", h("Origin", evil, "Sec-Fetch-Site", "cross-site"), always},
		"allowed page":                      {"POST", h("Origin", good, "Sec-Fetch-Site", "cross-site"), allowed{false, true, true}},
		"allowed page, GET":                 {"GET", h("Origin", good, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"), allowed{false, true, true}},
		"allowed page, without Sec-Fetch":   {"POST", h("Origin", good), allowed{false, true, true}},
		"almost an allowed page":            {"POST", h("Origin", good+".evil.example"), never},
		"allowed host by another scheme":    {"POST", h("Origin", "http://good.example"), never},
		"image of an allowed page or other": {"GET", h("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), never},
	} {
		for origins, want := range map[string]bool{"": test.want.nobody, good: test.want.one, "*": test.want.anyone} {
			o, err := NewOrigins("--origin", strings.Fields(origins))
			require.NoError(t, err)
			r := httptest.NewRequest(test.method, "http://here:1/", nil)
			r.Header = test.header
			refused := o.check(r)
			require.Equal(t, want, refused == nil, "%s with %q", name, origins)
			if refused != nil {
				require.Equal(t, http.StatusForbidden, refused.Status)
				require.ErrorContains(t, refused, "--origin")
			}
			require.Equal(t, test.method, r.Method)
		}
	}
}

func TestDoors(t *testing.T) {
	hosts, err := NewHosts("--host", nil)
	require.NoError(t, err)
	origins, err := NewOrigins("", nil)
	require.NoError(t, err)
	served := 0
	doors := Doors{Hosts: hosts, Origins: origins, Refuse: func(w http.ResponseWriter, _ *http.Request, refused *Refused) {
		http.Error(w, refused.Reason, refused.Status)
	}}
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		doors.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })).ServeHTTP(w, r)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		require.Equal(t, "same-origin", w.Header().Get("Cross-Origin-Resource-Policy"))
		return w
	}
	r := httptest.NewRequest(http.MethodPost, "http://evil.example/", nil)
	r.Header.Set("Origin", "http://evil.example")
	require.Equal(t, http.StatusMisdirectedRequest, ask(r).Code)
	r.TLS = &tls.ConnectionState{}
	require.Equal(t, http.StatusOK, ask(r).Code, "over TLS the certificate has the name")
	r.Header.Set("Origin", "http://other.example")
	require.Equal(t, http.StatusForbidden, ask(r).Code)
	doors.Named = func(*http.Request) bool { return false }
	require.Equal(t, http.StatusMisdirectedRequest, ask(r).Code)
	require.Equal(t, 1, served)
}
