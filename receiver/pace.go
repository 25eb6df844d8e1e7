package receiver

import (
	"net/http"
	"time"

	"github.com/alecthomas/units"
)

// pace ends bodies that come too slowly, so that memory is not held for nothing.
type pace struct {
	control *http.ResponseController
	rate    float64 // bytes a second
	began   time.Time
}

func newPace(w http.ResponseWriter, rate units.Base2Bytes) *pace {
	return &pace{control: http.NewResponseController(w), rate: float64(rate), began: time.Now()}
}

// await sets the time by which a byte has to follow the n that have come.
func (p *pace) await(n int) {
	earned := time.Duration(float64(n) / p.rate * float64(time.Second))
	// Where it cannot be set, the server's timeout for a request holds.
	_ = p.control.SetReadDeadline(p.began.Add(min(grace+earned, readTimeout)))
}

// done lets the sender be silent until the answer, which has a time of its own.
func (p *pace) done() { _ = p.control.SetReadDeadline(time.Time{}) }
