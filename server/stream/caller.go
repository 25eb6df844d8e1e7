package stream

import (
	"net/http"

	"github.com/promgrpc/exporter/internal/limit"
)

// Caller is who a call comes from, and the way back.
type Caller struct {
	Peer    string // whom limits are shared out to
	Writer  http.ResponseWriter
	Control *http.ResponseController
	// Room that the call holds of --limit.call-bytes. A stream gives it back when
	// it begins.
	Room *limit.Hold
}
