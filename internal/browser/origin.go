package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Origins are those whose pages may call. A page of the listener itself always may.
type Origins struct {
	flag    string
	anyone  bool
	origins []string
	others  *http.CrossOriginProtection
}

// NewOrigins returns the origins that were given by a flag: SCHEME://HOST[:PORT], or *
// for any. A listener without such a flag, "", has none.
func NewOrigins(flag string, origins []string) (Origins, error) {
	o := Origins{flag: flag, anyone: slices.Contains(origins, "*"), origins: origins, others: http.NewCrossOriginProtection()}
	for _, origin := range origins {
		if origin == "*" {
			continue
		}
		if err := checkOrigin(origin); err != nil {
			return o, fmt.Errorf("%s: %w", flag, err)
		}
		if err := o.others.AddTrustedOrigin(origin); err != nil {
			return o, fmt.Errorf("%s: %w", flag, err)
		}
	}
	return o, nil
}

// checkOrigin rejects what no browser sends as its origin.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return fmt.Errorf("%q is no origin, want SCHEME://HOST[:PORT] or *", origin)
	}
	return nil
}

// None says that no origin was given.
func (o Origins) None() bool { return len(o.origins) == 0 }

// Allow says whether an origin was given.
func (o Origins) Allow(origin string) bool {
	return origin != "" && (o.anyone || slices.Contains(o.origins, origin))
}

func (o Origins) check(r *http.Request) *Refused {
	if o.anyone || r.Method == http.MethodOptions || followsLink(r) {
		return nil
	}
	asked := r
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		// It changes nothing, but costs work.
		copied := *r
		copied.Method = http.MethodPost
		asked = &copied
	}
	if o.others.Check(asked) == nil {
		return nil
	}
	text := "a web page of another origin may not call here"
	if o.flag != "" {
		text += ", unless its origin is allowed by " + o.flag
	}
	return &Refused{Reason: Origin, Status: http.StatusForbidden, text: text}
}

// followsLink says whether a browser shows the answer in place of the page that had the
// link. One that asks in advance, as nobody did yet, has a purpose.
func followsLink(r *http.Request) bool {
	h := r.Header
	return r.Method == http.MethodGet && h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document" && h.Get("Sec-Purpose") == ""
}
