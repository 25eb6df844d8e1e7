package alerting

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An alert that an Alertmanager finds not valid, as it says in its own way, holds up no
// others. It is said.
func TestAlertThatIsNotValid(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kind   string
		taken  bool
	}{
		"not valid":        {http.StatusBadRequest, "application/json", true},
		"no Alertmanager":  {http.StatusBadRequest, "text/plain; charset=utf-8", false},
		"busy":             {http.StatusServiceUnavailable, "application/json", false},
		"without a right":  {http.StatusForbidden, "application/json", false},
		"nothing there":    {http.StatusNotFound, "application/json", false},
		"it has failed":    {http.StatusInternalServerError, "application/json", false},
		"somewhere else":   {http.StatusMovedPermanently, "text/html", false},
		"all of it, later": {http.StatusTooManyRequests, "application/json", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(`"invalid label set"`))
			}))
			defer server.Close()
			m, err := NewAlertmanagers([]string{server.URL}, false)
			require.NoError(t, err)
			var warned []error
			m.HTTP, m.Warn = server.Client(), func(err error) { warned = append(warned, err) }
			err = m.Deliver(t.Context(), []Alert{{State: Firing, Previous: Pending, Labels: map[string]string{"alertname": "a"}, At: time.Now()}})
			if !c.taken {
				require.ErrorContains(t, err, "invalid label set")
				return
			}
			require.NoError(t, err)
			require.Len(t, warned, 1)
			require.ErrorContains(t, warned[0], "invalid label set")
		})
	}
}
