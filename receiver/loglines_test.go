package receiver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/throttle"
)

// While no forwarder can write, senders do not set the pace of the log.
func TestSendersDoNotFillTheLog(t *testing.T) {
	one, two := newForwarder(t, "127.0.0.1:0"), newForwarder(t, "127.0.0.1:0")
	r := startWith(t, nil, one, two)
	for _, f := range []*fakeForwarder{one, two} {
		f.always(linkv1.Code_CODE_UNAVAILABLE, "disk full")
	}
	began := time.Now()
	for range 100 {
		require.Equal(t, http.StatusServiceUnavailable, r.post(t, typeV1, block("x")).code)
	}
	written := strings.Count(r.log.String(), `msg="senders of this forwarder go to another for a while"`)
	require.Positive(t, written)
	require.LessOrEqual(t, written, throttle.Burst*(1+int(time.Since(began)/(10*time.Second))))
}
