package promql

import (
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/selection"
)

// Hold returns a hold of [FlagBytes] and of the viewer's memory, on nothing yet: for what
// a caller keeps of results.
func (e *Engine) Hold(v selection.Viewer) *limit.Hold {
	return e.shared.Bytes.Hold(v.Peer).With(v.Memory)
}
