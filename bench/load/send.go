package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Sender posts bodies to a URL. As in Prometheus, each connection has its share of the
// series, so that the samples of a series arrive in order.
type Sender struct {
	URL         string
	TLS         *tls.Config // nil: none
	Version     int         // of remote write
	Connections int         // requests in flight at a time
	Senders     int         // addresses that the connections are from, in turn; one if it is 0
	Round       int         // requests of a round
	Rate        float64     // requests a second, 0 for as many as are accepted
	// Sending, if set, is called with a body's index right before it is posted,
	// possibly by several goroutines at a time.
	Sending func(i int)
	// Answered, if set, is called likewise once a body has been stored, with the time
	// since it was posted first.
	Answered func(i int, after time.Duration)
}

// Sent is the outcome of a Send.
type Sent struct {
	Elapsed time.Duration
	Retries int64 // answers other than 2xx, which are sent again
}

// Send posts all bodies and returns when the last is acknowledged. It retries
// requests that are refused with 5xx or 429, as senders do.
func (s *Sender) Send(ctx context.Context, bodies [][]byte) (Sent, error) {
	var clients []*http.Client
	for i := range max(s.Senders, 1) {
		transport := &http.Transport{MaxIdleConnsPerHost: s.Connections, DisableCompression: true, TLSClientConfig: s.TLS}
		if s.Senders > 1 {
			from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i))}
			transport.DialContext = (&net.Dialer{LocalAddr: from}).DialContext
		}
		defer transport.CloseIdleConnections()
		clients = append(clients, &http.Client{Transport: transport, Timeout: time.Minute})
	}
	var retries atomic.Int64
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for connection := range s.Connections {
		client := clients[connection%len(clients)]
		group.Go(func() error {
			for i, body := range bodies {
				if i%s.Round%s.Connections != connection {
					continue
				}
				if s.Rate > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(float64(i) / s.Rate * float64(time.Second)))))
				}
				if s.Sending != nil {
					s.Sending(i)
				}
				posted := time.Now()
				again, err := s.post(ctx, client, body)
				for ; again && err == nil; again, err = s.post(ctx, client, body) {
					retries.Add(1)
					time.Sleep(20 * time.Millisecond)
				}
				if err != nil {
					return fmt.Errorf("request %d: %w", i, err)
				}
				if s.Answered != nil {
					s.Answered(i, time.Since(posted))
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return Sent{Elapsed: time.Since(began), Retries: retries.Load()}, err
}

func (s *Sender) post(ctx context.Context, client *http.Client, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	contentType, version := "application/x-protobuf", "0.1.0"
	if s.Version == 2 {
		contentType, version = "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("X-Prometheus-Remote-Write-Version", version)
	response, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return false, err
	}
	switch {
	case response.StatusCode/100 == 2:
		return false, nil
	case response.StatusCode/100 == 5, response.StatusCode == http.StatusTooManyRequests:
		return true, nil
	}
	return false, fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(answer))
}
