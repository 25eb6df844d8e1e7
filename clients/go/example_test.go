package promgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// The latest sample of each series that matches: the zero Selection with a selector.
func ExampleClient_Get() {
	client, stop := dial(latest())
	defer stop()
	for update, err := range client.Get(context.Background(), promgrpc.Selection{Selectors: []string{`up{job="node"}`}}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, series := range update.GetTimeseries() {
			sample := series.GetSamples()[0]
			fmt.Println(text(series.GetLabels()), sample.GetValue(), time.UnixMilli(sample.GetTimestamp()).UTC().Format(time.TimeOnly))
		}
	}
	// Output:
	// __name__=up instance=a job=node 1 22:13:20
	// __name__=up instance=b job=node 0 22:13:20
}

// Follow two replicas, whichever is alive, and keep the cursor with the data:
// started again with that cursor, the program continues with the next sample. Here
// the first stream breaks after two responses.
func ExampleClient_Get_follow() {
	client, stop := dial(breaking(), breaking())
	defer stop()
	cursor := "" // as stored by the last run
	selection := promgrpc.Selection{Selectors: []string{`n`}, Cursor: cursor, Follow: true}
	for update, err := range client.Get(context.Background(), selection) {
		if err != nil {
			log.Fatal(err)
		}
		for _, series := range update.GetTimeseries() {
			fmt.Println(text(series.GetLabels()), series.GetSamples()[0].GetValue())
		}
		if update.GetCursor() != "" {
			cursor = update.GetCursor() // store it here, together with the samples
		}
	}
	fmt.Println("next time from", cursor)
	// Output:
	// __name__=n 1
	// __name__=n 2
	// __name__=n 3
	// next time from c3
}

// Subscribe to an expression: each step comes exactly once, whichever server evaluates
// it, and each as a whole. Here the first stream breaks within the second step.
func ExampleClient_Query() {
	client, stop := dial(breaking(), breaking())
	defer stop()
	cursor := "" // as stored by the last run
	query := promgrpc.Query{Expression: `sum by (job) (rate(http_requests_total[5m]))`, Cursor: cursor, Follow: true}
	for steps, err := range client.Query(context.Background(), query) {
		if err != nil {
			log.Fatal(err)
		}
		for _, series := range steps.GetTimeseries() {
			for _, sample := range series.GetSamples() {
				fmt.Println(text(series.GetLabels()), sample.GetValue(), "at step", sample.GetTimestamp())
			}
		}
		if steps.GetCursor() != "" {
			cursor = steps.GetCursor() // store it here, together with the results
		}
	}
	fmt.Println("next time from", cursor)
	// Output:
	// job=api 1 at step 15000
	// job=api 2 at step 30000
	// job=api 3 at step 45000
	// next time from c3
}

// Replay the samples of the last ten minutes, and stop at the present.
func ExampleClient_Get_since() {
	client, stop := dial(breaking())
	defer stop()
	since := time.Now().Add(-10 * time.Minute)
	samples := 0
	for update, err := range client.Get(context.Background(), promgrpc.Selection{Since: &since}) {
		if err != nil {
			log.Fatal(err)
		}
		if gap := update.GetGap(); gap != nil {
			fmt.Println("samples are missing:", gap.GetReason())
		}
		for _, series := range update.GetTimeseries() {
			samples += len(series.GetSamples()) + len(series.GetHistograms())
		}
	}
	fmt.Println(samples, "samples")
	// Output: 3 samples
}

// A cursor that is older than what the servers retain: start over at the oldest one
// that works, or without a cursor.
func ExampleOutOfRangeError() {
	client, stop := dial(outOfRange())
	defer stop()
	for _, err := range client.Get(context.Background(), promgrpc.Selection{Cursor: "c1", Follow: true}) {
		var gone *promgrpc.OutOfRangeError
		if errors.As(err, &gone) {
			fmt.Println("some samples are gone; resume at", gone.OldestCursor)
		} else if err != nil {
			log.Fatal(err)
		}
	}
	// Output: some samples are gone; resume at c7
}

// The values of a label in the live series that match.
func ExampleClient_GetLabelValues() {
	client, stop := dial(latest())
	defer stop()
	res, err := client.GetLabelValues(context.Background(), &metricsv1.GetLabelValuesRequest{Name: "job", Selectors: []string{`up`}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.GetValues())
	// Output: [node prometheus]
}

// Type, unit and help of metric families.
func ExampleClient_GetMetadata() {
	client, stop := dial(latest())
	defer stop()
	res, err := client.GetMetadata(context.Background(), &metricsv1.GetMetadataRequest{MetricFamilyName: "up"})
	if err != nil {
		log.Fatal(err)
	}
	for _, family := range res.GetMetadata() {
		fmt.Println(family.GetMetricFamilyName(), family.GetType(), family.GetHelp())
	}
	// Output: up METRIC_TYPE_GAUGE Whether the target is up.
}

// The health of a server: whether it is ready, and how far it lags in each log. The
// cursor is that of the present: a stream that starts there gets new samples only.
func ExampleClient_GetStatus() {
	client, stop := dial(latest())
	defer stop()
	status, err := client.GetStatus(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.GetInstance(), status.GetReady(), status.GetUptime().AsDuration(), status.GetCursor())
	for _, l := range status.GetLogs() {
		fmt.Println(l.GetLogId(), l.GetConnected(), l.GetLagBlocks())
	}
	// Output:
	// server-1 true 1h0m0s c9
	// 01HF true 2
}

// A client of two replicas over gRPC-Web and TLS, with a token that is read again for
// each call. It gives up if no replica is up at the start.
func ExampleNew() {
	client, err := promgrpc.New([]string{"server-1:8090", "server-2:8090"}, promgrpc.Options{
		Protocol:      promgrpc.ProtocolGRPCWeb,
		RenewTLS:      promgrpc.TLSFiles{CA: "/etc/promgrpc/ca.pem"}.Config,
		Authorization: promgrpc.TokenFile("/var/run/secrets/token"),
		FailFast:      true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	// Output:
}

// dial starts the servers and makes a client for them.
func dial(servers ...*metricstest.Server) (*promgrpc.Client, func()) {
	var addresses []string
	for _, s := range servers {
		addresses = append(addresses, s.Listen())
	}
	client, err := promgrpc.New(addresses, promgrpc.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return client, func() {
		_ = client.Close()
		for _, s := range servers {
			s.Stop()
		}
	}
}

// latest has two live series, and answers to the unary calls.
func latest() *metricstest.Server {
	return &metricstest.Server{
		Script: func(_ context.Context, call *metricstest.Call) error {
			if err := call.Send(&metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{
				metricstest.Float(1, "__name__", "up", "instance", "a", "job", "node"),
				metricstest.Float(0, "__name__", "up", "instance", "b", "job", "node"),
			}, Cursor: "c9"}); err != nil {
				return err
			}
			return call.Send(end())
		},
		LabelValues: &metricsv1.GetLabelValuesResponse{Values: []string{"node", "prometheus"}},
		Metadata: &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{{
			MetricFamilyName: "up", Type: metricsv1.MetricType_METRIC_TYPE_GAUGE, Help: "Whether the target is up.",
		}}},
		Status: &metricsv1.GetStatusResponse{
			Instance: "server-1", Ready: true, Uptime: durationpb.New(time.Hour), Cursor: "c9",
			Logs: []*metricsv1.LogStatus{{LogId: "01HF", Connected: true, LagBlocks: 2}},
		},
	}
}

// breaking has three samples, and three steps of two responses each. It breaks its
// first streams off after two samples, and within the second step.
func breaking() *metricstest.Server {
	abort := func() error { metricstest.Abort(); return nil }
	return &metricstest.Server{Script: sequence(3, 2, abort), Query: func(_ context.Context, call *metricstest.QueryCall) error {
		after, _ := strconv.Atoi(strings.TrimPrefix(call.Request.GetCursor(), "c"))
		for step := after + 1; step <= 3; step++ {
			results := &queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{{
				Labels:  metricstest.Labels("job", "api"),
				Samples: []*metricsv1.Sample{{Value: float64(step), Timestamp: int64(step) * 15_000}},
			}}}
			if err := call.Send(results); err != nil {
				return err
			}
			if call.Number == 0 && step == 2 {
				return abort()
			}
			if err := call.Send(&queryv1.QueryResponse{Cursor: fmt.Sprint("c", step)}); err != nil {
				return err
			}
		}
		return call.Send(queryEnd())
	}}
}

// outOfRange retains nothing from before c7.
func outOfRange() *metricstest.Server {
	return &metricstest.Server{Script: func(context.Context, *metricstest.Call) error {
		return metricstest.Error(connect.CodeOutOfRange, "too old", &metricsv1.CursorOutOfRange{OldestCursor: "c7"})
	}}
}

// text returns the labels of a series in one line.
func text(labels []*metricsv1.Label) (line string) {
	for i, l := range labels {
		if i > 0 {
			line += " "
		}
		line += l.GetName() + "=" + l.GetValue()
	}
	return line
}
