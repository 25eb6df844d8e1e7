package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/promgrpc/exporter/bench/subject"
)

// requests that exporters get, by the process. Each path has a place for a number.
var requests = map[string][]struct{ method, path, body string }{
	"consul": {
		{http.MethodPut, "/v1/kv/orders/%d", "shipped"},
		{http.MethodGet, "/v1/kv/orders/%d", ""},
		{http.MethodGet, "/v1/health/service/orders-%d", ""},
	},
	"prometheus": {
		{http.MethodGet, "/api/v1/query?query=sum+by(job)(rate(process_cpu_seconds_total[%ds]))", ""},
		{http.MethodGet, "/api/v1/query?query=topk(%d,scrape_samples_scraped)", ""},
	},
	"pushgateway": {
		{http.MethodPut, "/metrics/job/backup-%d", "backup_bytes 123456\n"},
	},
}

// visit makes requests of all kinds, some fast and some slow, until the context ends. How
// many there are varies, as it does during a day. Answers do not matter.
func visit(ctx context.Context, balancer string) {
	for began := time.Now(); ctx.Err() == nil; {
		name := subject.Behind[rand.IntN(len(subject.Behind))]
		one := requests[name][rand.IntN(len(requests[name]))]
		n := rand.IntN(20) + 1
		request, err := http.NewRequestWithContext(ctx, one.method, "http://"+balancer+fmt.Sprintf(one.path, n), strings.NewReader(one.body))
		if err != nil {
			return
		}
		request.Host = name
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		pause := 5 + rand.IntN(20)
		if int(time.Since(began).Seconds())/20%2 == 0 {
			pause *= 4
		}
		time.Sleep(time.Duration(pause) * time.Millisecond)
	}
}
