package receiver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

// answer writes the HTTP answer and returns its status. Either verdict or err
// is nil.
func (h *handler) answer(w http.ResponseWriter, schema linkv1.Schema, v *linkv1.Verdict, err error) int {
	// A 2.0 sender takes an answer without these for one of a receiver that
	// does not know 2.0; a 1.0 sender complains about them.
	if schema == linkv1.Schema_SCHEMA_WRITE_V2 {
		setWritten(w.Header(), v)
	}
	status := statusOf(v, err)
	switch status {
	case http.StatusNoContent:
		w.WriteHeader(status)
		return status
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="prometheus-grpc-exporter"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		// Spread, so that the senders do not all come back in the same second.
		w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(3)))
	}
	http.Error(w, oneLine(reason(v, err)), status)
	return status
}

// statusOf chooses the status. Senders drop a request for 4xx and repeat it for 5xx, so
// whatever may pass is 503.
func statusOf(v *linkv1.Verdict, err error) int {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.status
	case err != nil:
		return http.StatusServiceUnavailable
	}
	switch v.GetCode() {
	case linkv1.Code_CODE_OK:
		return http.StatusNoContent
	case linkv1.Code_CODE_INVALID:
		return http.StatusBadRequest
	case linkv1.Code_CODE_TOO_LARGE:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusServiceUnavailable
}

func setWritten(h http.Header, v *linkv1.Verdict) {
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.FormatUint(v.GetSamplesWritten(), 10))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.FormatUint(v.GetHistogramsWritten(), 10))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.FormatUint(v.GetExemplarsWritten(), 10))
}

// describe says in one line what became of the batch, counts first: Prometheus
// logs the first line of an answer, up to a kilobyte.
func describe(v *linkv1.Verdict) string {
	var s strings.Builder
	switch v.GetCode() {
	case linkv1.Code_CODE_INVALID:
		if v.GetRejected()+v.GetSamplesWritten()+v.GetHistogramsWritten()+v.GetExemplarsWritten() == 0 {
			s.WriteString("nothing written") // It could not be read, or has none of these.
			break
		}
		fmt.Fprintf(&s, "%d rejected; %d samples, %d histograms, %d exemplars written",
			v.GetRejected(), v.GetSamplesWritten(), v.GetHistogramsWritten(), v.GetExemplarsWritten())
	case linkv1.Code_CODE_TOO_LARGE:
		s.WriteString("too large for the forwarder, nothing written")
	case linkv1.Code_CODE_UNAVAILABLE:
		s.WriteString("the forwarder cannot write now")
	case linkv1.Code_CODE_UNCONFIRMED:
		s.WriteString("stored by the forwarder, and too few servers have confirmed it in time")
	case linkv1.Code_CODE_UNDECIDED:
		s.WriteString("nothing written yet")
	default:
		fmt.Fprintf(&s, "the forwarder answered %s", v.GetCode())
	}
	sep := ": "
	for _, e := range v.GetErrors() {
		s.WriteString(sep + e)
		sep = "; "
	}
	return s.String()
}

// oneLine replaces what would break the line: senders choose label values.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
