package torture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const (
	lanes = 9
	// pace of a lane, from one request to the next.
	pace = 60 * time.Millisecond
	// answerTimeout after which a sender takes an answer for lost.
	answerTimeout = 4 * time.Second
)

// senders write, each lane with series of its own: a lane sends no other sample
// of a series before the request with the one before was acknowledged. The
// lanes' requests are under way at the same time.
type senders struct {
	t    testing.TB
	urls []string // of the receivers
	stop chan struct{}
	over chan struct{} // closed when all lanes have ended
	done sync.WaitGroup

	requests, retries, late atomic.Int64
	lanes                   []*lane
}

// lane is one that sends.
type lane struct {
	of     *senders
	name   string
	gen    *generator
	client *http.Client
	rand   *rand.Rand
	url    string // of the receiver that it writes to
	tenant string // that its series are of; empty if they say so themselves
	ctx    context.Context

	mu           sync.Mutex
	acknowledged history
	under        []*metricsv1.TimeSeries // the request that is under way
}

func startSenders(r *rig, seed uint64) *senders {
	t := r.t
	s := &senders{t: t, stop: make(chan struct{}), over: make(chan struct{})}
	for _, address := range addresses(r.write) {
		s.urls = append(s.urls, "http://"+address+"/api/v1/write")
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		s.end()
		cancel()
		s.done.Wait()
	})
	for i := range lanes {
		l := &lane{
			of: s, name: fmt.Sprint("lane ", i), gen: newGenerator(seed, i, i%3 == 2, !r.severalLogs() && !r.o.moves()), url: s.urls[i%len(s.urls)],
			client: &http.Client{Timeout: answerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 2}},
			rand:   rand.New(rand.NewPCG(seed, uint64(1000+i))), ctx: ctx, acknowledged: history{},
		}
		if i%3 != 0 {
			l.tenant = l.gen.lane
		}
		s.lanes = append(s.lanes, l)
		s.done.Go(l.run)
	}
	go func() {
		s.done.Wait()
		close(s.over)
	}()
	return s
}

// end has the lanes make no more requests.
func (s *senders) end() {
	if !s.ending() {
		close(s.stop)
	}
}

func (s *senders) ending() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// finished says whether all lanes have ended, each with its last request
// acknowledged.
func (s *senders) finished() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// history of all that was acknowledged.
func (s *senders) history() history {
	all := history{}
	for _, l := range s.lanes {
		l.mu.Lock()
		maps.Copy(all, l.acknowledged.clone())
		l.mu.Unlock()
	}
	return all
}

// underWay are the requests that may be answered at any moment.
func (s *senders) underWay() history {
	all := history{}
	for _, l := range s.lanes {
		l.mu.Lock()
		for _, series := range l.under {
			all.add(series)
		}
		l.mu.Unlock()
	}
	return all
}

func (l *lane) run() {
	defer l.client.CloseIdleConnections()
	for {
		wait := pace/2 + time.Duration(l.rand.Int64N(int64(pace)))
		select {
		case <-l.of.stop:
			return
		case <-time.After(wait):
		}
		if l.of.ending() {
			return
		}
		request := l.gen.request()
		body := encode(l.of.t, l.written(request), l.gen.v2)
		l.mu.Lock()
		l.under = request
		l.mu.Unlock()
		if !l.send(body, request) {
			return
		}
		l.mu.Lock()
		l.under = nil
		for _, s := range request {
			l.acknowledged.addSent(s)
		}
		l.mu.Unlock()
		if l.rand.IntN(25) == 0 {
			l.late(body, request)
		}
	}
}

// written is what a request says in its body. Where the lane is a tenant, the series are
// spelt as those of all such lanes are, some with a tenant that does not count.
func (l *lane) written(request []*metricsv1.TimeSeries) []*metricsv1.TimeSeries {
	if l.tenant == "" {
		return request
	}
	var written []*metricsv1.TimeSeries
	for _, s := range request {
		w := &metricsv1.TimeSeries{Samples: s.GetSamples(), Histograms: s.GetHistograms(), Exemplars: s.GetExemplars()}
		for _, label := range s.GetLabels() {
			switch {
			case label.GetName() != tenantLabel:
				w.Labels = append(w.Labels, label)
			case strings.HasSuffix(s.GetLabels()[0].GetValue(), "0"):
				w.Labels = append(w.Labels, &metricsv1.Label{Name: tenantLabel, Value: "another"})
			}
		}
		written = append(written, w)
	}
	return written
}

// send repeats the same bytes until they are acknowledged.
func (l *lane) send(body []byte, request []*metricsv1.TimeSeries) bool {
	l.of.requests.Add(1)
	for l.ctx.Err() == nil {
		// A sender that is impatient sends twice at a time.
		if l.rand.IntN(50) == 0 {
			l.of.late.Add(1)
			url := l.of.urls[l.rand.IntN(len(l.of.urls))]
			go func() { _, _, _ = l.postTo(url, body) }()
		}
		status, header, err := l.post(body)
		switch {
		case err == nil && status == http.StatusNoContent:
			l.check(header, request)
			return true
		case err == nil && status < 500:
			l.of.t.Errorf("%s: a good request was refused: %d", l.name, status)
			return false
		}
		l.of.retries.Add(1)
		l.turn()
		select {
		case <-time.After(50*time.Millisecond + time.Duration(l.rand.Int64N(int64(200*time.Millisecond)))):
		case <-l.ctx.Done():
		}
	}
	return false
}

// late sends what was acknowledged once more, as a sender would that did not
// hear of it.
func (l *lane) late(body []byte, request []*metricsv1.TimeSeries) {
	l.of.late.Add(1)
	l.turn()
	status, header, err := l.post(body)
	switch {
	case err == nil && status == http.StatusNoContent:
		l.check(header, request)
	case err == nil && status < 500:
		l.of.t.Errorf("%s: a repeated request was refused: %d", l.name, status)
	}
}

// check compares what a 2.0 answer says was written.
func (l *lane) check(header http.Header, request []*metricsv1.TimeSeries) {
	if !l.gen.v2 {
		return
	}
	var samples, histograms, exemplars int
	for _, s := range request {
		samples += len(s.GetSamples())
		histograms += len(s.GetHistograms())
		exemplars += len(s.GetExemplars())
	}
	for name, want := range map[string]int{"Samples": samples, "Histograms": histograms, "Exemplars": exemplars} {
		if got := header.Get("X-Prometheus-Remote-Write-" + name + "-Written"); got != strconv.Itoa(want) {
			l.of.t.Errorf("%s: the answer says %q %s were written, %d were sent", l.name, got, name, want)
		}
	}
}

// turn to any of the receivers.
func (l *lane) turn() { l.url = l.of.urls[l.rand.IntN(len(l.of.urls))] }

func (l *lane) post(body []byte) (int, http.Header, error) {
	return l.postTo(l.url, body)
}

func (l *lane) postTo(url string, body []byte) (int, http.Header, error) {
	request, err := http.NewRequestWithContext(l.ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("Content-Type", "application/x-protobuf")
	version := "0.1.0"
	if l.gen.v2 {
		version = "2.0.0"
		request.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	}
	request.Header.Set("X-Prometheus-Remote-Write-Version", version)
	if l.tenant != "" {
		request.Header.Set("X-Scope-OrgID", l.tenant)
	}
	res, err := l.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	if res.StatusCode/100 == 4 {
		l.of.t.Logf("%s: %s: %s", l.name, res.Status, answer)
	}
	return res.StatusCode, res.Header, nil
}
