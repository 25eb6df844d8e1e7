package call

import (
	"net/http"

	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/selection"
)

// Caller is who a call comes from, and the way back.
type Caller struct {
	Peer string // whom limits are shared out to
	// Identity is who calls, and Rights what that may do as of a Version of the access
	// file.
	Identity identity.Identity
	Rights   *admission.Rights
	Version  any
	Writer   http.ResponseWriter
	Control  *http.ResponseController
	// Room that the call holds of --limit.call-bytes. A stream gives it back when
	// it begins.
	Room *limit.Hold
}

// Viewer is the caller where series are selected.
func (c *Caller) Viewer() selection.Viewer { return c.Rights.Viewer(c.Peer) }
