package alerting

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An alert that is resolved while it is being sent again as one that fires is resolved
// after that, and stays so.
func TestNothingOlderComesLater(t *testing.T) {
	var mu sync.Mutex
	var ends []time.Time // of the alert, as it came
	repeating, goOn := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var got []message
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&got))
		mu.Lock()
		ends = append(ends, got[0].EndsAt)
		second := len(ends) == 2
		mu.Unlock()
		if second {
			close(repeating)
			<-goOn
		}
	}))
	defer server.Close()
	m, err := NewAlertmanagers([]string{server.URL}, false)
	require.NoError(t, err)
	m.HTTP, m.Every, m.Warn = server.Client(), time.Millisecond, func(err error) { t.Error(err) }
	at := time.Now().Truncate(time.Second)
	alert := Alert{State: Firing, Previous: Pending, Labels: map[string]string{"alertname": "a"}, At: at}
	require.NoError(t, m.Deliver(t.Context(), []Alert{alert}))

	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { m.Repeat(ctx) })
	<-repeating
	delivered := make(chan error)
	go func() {
		resolved := alert
		resolved.State, resolved.Previous = Resolved, Firing
		delivered <- m.Deliver(t.Context(), []Alert{resolved})
	}()
	select {
	case err := <-delivered:
		t.Errorf("it was resolved before what says that it fires had come: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if !t.Failed() {
		require.NoError(t, <-delivered)
	}
	cancel()
	done.Wait()
	mu.Lock()
	defer mu.Unlock()
	require.True(t, ends[len(ends)-1].Equal(at), "it ends at %v, not %v", ends[len(ends)-1], at)
}

// A password does not leave the machine without TLS, unless it may.
func TestPasswordsInTheClear(t *testing.T) {
	for text, refused := range map[string]bool{
		"http://ann:secret@alertmanager":           true,
		"http://ann:secret@alertmanager:9093/path": true,
		"http://ann:secret@192.0.2.1:9093":         true,
		"http://ann:secret@localhost:9093":         false,
		"http://ann:secret@localhost":              false,
		"http://ann:secret@[::1]":                  false,
		"https://ann:secret@alertmanager":          false,
		"http://alertmanager:9093":                 false,
	} {
		_, err := NewAlertmanagers([]string{text}, false)
		if refused {
			require.ErrorContains(t, err, "Authorization is not sent in the clear", text)
			require.NotContains(t, err.Error(), "secret")
		} else {
			require.NoError(t, err, text)
		}
		_, err = NewAlertmanagers([]string{text}, true)
		require.NoError(t, err, text)
	}
}
