package promapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/selection"
)

// Prefix of the paths that are served.
const Prefix = "/api/v1/"

// BuildInfo is the path for which any policy will do.
const BuildInfo = Prefix + "status/buildinfo"

// Serves says whether a path is one of this API, known or not.
func Serves(path string) bool { return strings.HasPrefix(path, Prefix) }

// Shared is what the API needs of a server.
type Shared struct {
	Engine   *promql.Engine
	Refusals *refusal.Refusals
	// Caller is who makes the request that a context is of.
	Caller func(context.Context) Caller
	// Serving says why nothing can be asked now, nil if it can.
	Serving func() error
	// Families calls what collect returns with each metric family of each log that the
	// caller of a context sees, or those of one name. What is collected takes room.
	Families func(ctx context.Context, name string, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) error
}

// Caller is who asks.
type Caller struct {
	Viewer selection.Viewer
	// Restricted says that it may see some series only, and learns nothing of others.
	Restricted bool
	// Room takes room for so many bytes of an answer in place of what was taken before.
	Room func(bytes int64) error
}

// API serves the HTTP API.
type API struct {
	Shared
	routes map[string]route
}

// route is what is served at a path.
type route struct {
	// form says that parameters may be posted as well.
	form bool
	call func(*request) (*answer, error)
}

// New returns the API.
func New(from Shared) *API {
	a := &API{Shared: from}
	a.routes = map[string]route{
		"query":            {true, a.query},
		"query_range":      {true, a.queryRange},
		"query_exemplars":  {true, a.exemplars},
		"format_query":     {true, a.formatQuery},
		"parse_query":      {true, a.parseQuery},
		"series":           {true, a.series},
		"labels":           {true, a.labelNames},
		"metadata":         {false, a.metadata},
		"status/buildinfo": {false, buildInfo},
		"rules":            {false, noRules},
		"alerts":           {false, noAlerts},
	}
	return a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Accept-Encoding")
	found, name, err := a.route(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	req, err := a.request(r, name)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer, err := found.call(req)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	answer.send(w, r)
}

// route returns what is served at the path of a request, with the label that is named in
// it.
func (a *API) route(r *http.Request) (found route, label string, err error) {
	path := strings.TrimPrefix(r.URL.Path, Prefix)
	found, ok := a.routes[path]
	if !ok {
		if label, ok = labelOf(path); !ok {
			return route{}, "", &failure{status: http.StatusNotFound, kind: notFound, text: "there is nothing at this path: it is not part of Prometheus' HTTP API as it is served here"}
		}
		found = route{call: a.labelValues}
	}
	if r.Method == http.MethodGet || r.Method == http.MethodPost && found.form {
		return found, label, nil
	}
	allowed := http.MethodGet
	if found.form {
		allowed += ", " + http.MethodPost
	}
	return route{}, "", &failure{status: http.StatusMethodNotAllowed, kind: badData, text: "the method is none of " + allowed, allow: allowed}
}
