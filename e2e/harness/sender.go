package harness

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// Sender writes known samples at a steady rate by remote write 1.0. As
// Prometheus does, it repeats a request until it is answered, with the same
// bytes.
type Sender struct {
	t      testing.TB
	post   func(body []byte) (status int, answer string, err error)
	job    string
	series int
	more   map[string]string // labels

	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex
	sent    Points
	retries int
	since   time.Time     // of the last answer, or of Pause
	pause   time.Duration // the longest since Pause
}

// NewSender makes a sender for a number of series of a job.
func NewSender(t testing.TB, url, job string, series int) *Sender {
	return NewSenderBy(t, func(body []byte) (int, string, error) { return Write(url, body) }, job, series)
}

// NewSenderBy is NewSender of one that posts a body by a function, as Write does.
func NewSenderBy(t testing.TB, post func(body []byte) (status int, answer string, err error), job string, series int) *Sender {
	return &Sender{
		t: t, post: post, job: job, series: series, sent: Points{},
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// With has it send more labels, but for which the series are what they were: what takes
// the samples leaves them out. To be called before Start.
func (s *Sender) With(left map[string]string) *Sender {
	s.more = left
	return s
}

// Start sends one sample of each series every interval.
func (s *Sender) Start(interval time.Duration) {
	s.t.Cleanup(s.Stop)
	s.since = time.Now()
	go func() {
		defer close(s.stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 0; ; n++ {
			s.send(n)
			select {
			case <-ticker.C:
			case <-s.stop:
				return
			}
		}
	}()
}

// Stop sends no more, and waits for the answer to what was sent.
func (s *Sender) Stop() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.stopped
}

// Acknowledged returns every sample that was acknowledged so far.
func (s *Sender) Acknowledged() Points {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent.Filter(func(Point) bool { return true })
}

// Retries that were needed so far.
func (s *Sender) Retries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retries
}

// Pause returns the longest time without an answer since it was called last.
func (s *Sender) Pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered()
	pause := s.pause
	s.pause = 0
	return pause
}

func (s *Sender) answered() {
	now := time.Now()
	s.since, s.pause = now, max(s.pause, now.Sub(s.since))
}

func (s *Sender) send(n int) {
	now := time.Now().UnixMilli()
	request := &prompb.WriteRequest{}
	points := Points{}
	for i := range s.series {
		labels := map[string]string{"__name__": "sent_total", "job": s.job, "series": strconv.Itoa(i)}
		v := float64(n) + float64(i)/1000
		sent := maps.Clone(labels)
		maps.Copy(sent, s.more)
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels:  promLabels(sent),
			Samples: []prompb.Sample{{Value: v, Timestamp: now}},
		})
		points.Add(Series(labels), now, Float(v))
	}
	body := Encode(s.t, request)
	for deadline := time.Now().Add(patience); ; {
		status, answer, err := s.post(body)
		if err == nil && status/100 == 2 {
			break
		}
		if err == nil && status/100 == 4 {
			s.t.Errorf("sender %s: %d: %s", s.job, status, answer)
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("sender %s: no success within %s: %d %s %v", s.job, patience, status, answer, err)
			return
		}
		s.mu.Lock()
		s.retries++
		s.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered()
	for point := range points {
		s.sent[point]++
	}
}

func promLabels(labels map[string]string) []prompb.Label {
	var list []prompb.Label
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, prompb.Label{Name: name, Value: labels[name]})
	}
	return list
}

// Encode returns the body of a remote write 1.0 request.
func Encode(t testing.TB, request *prompb.WriteRequest) []byte {
	data, err := request.Marshal()
	if err != nil {
		t.Errorf("encode a request: %v", err)
	}
	return snappy.Encode(nil, data)
}

// Write posts a body as remote write 1.0 and returns status and answer.
func Write(url string, body []byte) (int, string, error) {
	request, err := WriteRequest(url, body)
	if err != nil {
		return 0, "", err
	}
	return Do(client, request)
}

// WriteRequest is what Write posts.
func WriteRequest(url string, body []byte) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	return request, nil
}

// client trusts everybody: real Prometheus shows whether a certificate is right.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// Do sends a request and returns status and answer.
func Do(client *http.Client, request *http.Request) (int, string, error) {
	res, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", fmt.Errorf("read the answer: %w", err)
	}
	return res.StatusCode, string(answer), nil
}
