package alerting

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/credential"
)

// What Prometheus does with alerts, too.
const (
	// keptFor is how long one that is resolved is sent again.
	keptFor = 15 * time.Minute
	// lifetimes of the pauses between two sends is how long one fires that is not sent
	// again.
	lifetimes = 4
	batch     = 256 // alerts in one request
)

// mostQuoted is how much of an Alertmanager's answer an error quotes.
const mostQuoted = 200

// Alertmanagers are sent alerts that fire, and those that did.
type Alertmanagers struct {
	HTTP *http.Client
	// Every is the pause between two sends of what has not changed.
	Every time.Duration
	// Warn is told of those that took nothing, while others did.
	Warn func(error)

	urls []string

	// mu is held while alerts are sent, so that none comes after a newer one.
	mu   sync.Mutex
	held map[string]*message // by labels
}

// message is an alert as Alertmanager's API has it.
type message struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`

	resolved bool
	until    time.Time // it is sent again, if it is resolved
}

// NewAlertmanagers checks the URLs. One with a password needs TLS, or an address of this
// machine, unless passwords may be sent in the clear.
func NewAlertmanagers(urls []string, cleartext bool) (*Alertmanagers, error) {
	m := &Alertmanagers{held: map[string]*message{}}
	for _, text := range urls {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, errors.New("it is no URL") // The error has the URL, which may have a password.
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return nil, fmt.Errorf("%s is no URL of HTTP", u.Redacted())
		case u.Scheme == "http" && u.User != nil && !cleartext:
			if err := credential.Cleartext(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")), credential.Header); err != nil {
				return nil, fmt.Errorf("%w, or --allow-cleartext-credentials", err)
			}
		}
		m.urls = append(m.urls, strings.TrimSuffix(u.String(), "/")+"/api/v2/alerts")
	}
	return m, nil
}

// Deliver sends alerts that have changed. One of the Alertmanagers has to take them; the
// others get them when they are sent again.
func (m *Alertmanagers) Deliver(ctx context.Context, alerts []Alert) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changed []*message
	for i := range alerts {
		if to := m.hold(&alerts[i]); to != nil && alerts[i].Changed() {
			changed = append(changed, to)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return m.send(ctx, changed)
}

// hold keeps an alert to be sent again, and returns it if it is one to be sent.
func (m *Alertmanagers) hold(a *Alert) *message {
	if a.State != Firing && a.State != Resolved {
		return nil
	}
	to := &message{Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.ActiveAt, GeneratorURL: a.GeneratorURL}
	if a.FiredAt != nil {
		to.StartsAt = *a.FiredAt
	}
	if a.State == Resolved {
		to.resolved, to.EndsAt, to.until = true, a.At, time.Now().Add(keptFor)
	}
	key, err := json.Marshal(a.Labels) // sorted
	if err != nil {
		return nil // a map of strings can be marshalled
	}
	m.held[string(key)] = to
	return to
}

// Repeat sends all that is held again and again, until ctx ends.
func (m *Alertmanagers) Repeat(ctx context.Context) {
	tick := time.NewTicker(m.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := m.sendAgain(ctx); err != nil && ctx.Err() == nil {
			m.Warn(err)
		}
	}
}

func (m *Alertmanagers) sendAgain(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.all(); len(all) > 0 {
		return m.send(ctx, all)
	}
	return nil
}

// all is what has to be sent again. What was resolved long ago is forgotten.
func (m *Alertmanagers) all() []*message {
	maps.DeleteFunc(m.held, func(_ string, to *message) bool { return to.resolved && time.Now().After(to.until) })
	all := make([]*message, 0, len(m.held))
	for _, key := range slices.Sorted(maps.Keys(m.held)) {
		all = append(all, m.held[key])
	}
	return all
}

// send returns an error unless one of the Alertmanagers has taken all.
func (m *Alertmanagers) send(ctx context.Context, all []*message) error {
	var failed []error
	for _, to := range m.urls {
		if err := m.post(ctx, to, all); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == len(m.urls) {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		m.Warn(err)
	}
	return nil
}

func (m *Alertmanagers) post(ctx context.Context, to string, all []*message) error {
	for part := range slices.Chunk(all, batch) {
		now := make([]message, len(part))
		for i, one := range part {
			now[i] = *one
			if !one.resolved {
				now[i].EndsAt = time.Now().Add(lifetimes * m.Every)
			}
		}
		body, err := json.Marshal(now)
		if err != nil {
			return fmt.Errorf("alerts as JSON: %w", err)
		}
		if err := m.postBody(ctx, to, body); err != nil {
			return err
		}
	}
	return nil
}

func (m *Alertmanagers) postBody(ctx context.Context, to string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := m.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("alertmanager: %w", err) // The URL in it has no password.
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, mostQuoted)) // what came of it
	err = fmt.Errorf("alertmanager %s: %s: %s", req.URL.Redacted(), res.Status, bytes.TrimSpace(text))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode == http.StatusBadRequest && kind == "application/json" {
		// An alert is not valid there, nor will it be next time. The others were taken.
		m.Warn(err)
		return nil
	}
	return err
}
