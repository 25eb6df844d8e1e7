package replica

import (
	"fmt"

	"github.com/promgrpc/exporter/internal/cursor"
)

// Why a log is refused.
const (
	ReasonFull  = "logs"     // there are too many
	ReasonOwner = "owner"    // it belongs to somebody else
	ReasonNew   = "new-logs" // too many are beginning
)

// RefusedError says why a connection may not feed a log. Others are not concerned.
type RefusedError struct {
	Reason string
	text   string
}

func (e *RefusedError) Error() string { return e.text }

var errFull = fmt.Errorf("this server holds %d logs, the most that it may, and there is another", cursor.MaxLogs)
