package server

import (
	"net/http"

	"github.com/promgrpc/exporter/internal/limit"
)

// caller is who a call comes from, and the way back.
type caller struct {
	peer    string // whom limits are shared out to
	writer  http.ResponseWriter
	control *http.ResponseController
	// room that the call holds of --limit.call-bytes. A stream gives it back when
	// it begins.
	room *limit.Hold
}
