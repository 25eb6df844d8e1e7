// Package browser keeps pages that a browser loaded from elsewhere away from an HTTP
// listener, of which the browser's user can reach more than the page's author can.
//
// Guaranteed, of browsers that send Origin and Sec-Fetch-Site as they do since 2023: a
// page of another origin has nothing done that was not allowed to it, by any method, and
// reads nothing. Over cleartext, where no certificate proves a listener's name, only
// names are served that cannot be an outsider's: a page cannot make the listener its own
// origin by a name that it lets point here (DNS rebinding). Browsers are told not to
// guess the type of an answer, and not to show one within a page of another origin.
//
// Not guaranteed: anything of callers that are no browsers, which write into headers
// what they like. A GET for an image or a script over cleartext, to a host that is not
// this machine, has neither of the headers: it reads nothing, but is answered. A link
// from elsewhere may be followed.
package browser

import (
	"net/http"
)

// Reasons of a refusal.
const (
	Host   = "host"
	Origin = "origin"
)

// Refused is why a request is not served.
type Refused struct {
	// Reason is [Host] or [Origin].
	Reason string
	// Status of the answer.
	Status int
	text   string
}

func (r *Refused) Error() string { return r.text }

// Doors are those of one listener.
type Doors struct {
	Hosts   Hosts
	Origins Origins
	// Named says that a request came by a name that its sender could check, as over TLS,
	// or that it does not matter by which. Nil: over TLS.
	Named func(*http.Request) bool
	// Refuse answers what is not served.
	Refuse func(http.ResponseWriter, *http.Request, *Refused)
}

// Handler returns a handler of the requests that the doors let in.
func (d Doors) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if refused := d.check(r); refused != nil {
			d.Refuse(w, r, refused)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d Doors) check(r *http.Request) *Refused {
	if named := d.Named; named != nil && !named(r) || named == nil && r.TLS == nil {
		if refused := d.Hosts.check(r.Host); refused != nil {
			return refused
		}
	}
	return d.Origins.check(r)
}
