package read

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
)

// Subscribe calls Query over gRPC. The stream ends with the context.
func Subscribe(ctx context.Context, server Server, request *queryv1.QueryRequest) (*Stream, error) {
	message, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	return open(ctx, server, queryv1grpc.QueryService_Query_FullMethodName, message)
}

// Fields of QueryResponse.
const (
	queryEvaluated = 3
	querySynced    = 6
)

// Step is what a response of Query says of the step that it completes.
type Step struct {
	At     time.Time // zero: it completes none
	Series int
	Synced bool
}

// StepOf decodes a response of Query.
func StepOf(message []byte) (s Step, err error) {
	event := false
	err = fields(message, func(number protowire.Number, value []byte) error {
		switch {
		case number == 1:
			s.Series++
		case number == queryEvaluated:
			s.At, err = timestamp(value)
			return err
		case number >= querySynced:
			event, s.Synced = true, s.Synced || number == querySynced
		}
		return nil
	})
	if event {
		s.At = time.Time{}
	}
	return s, err
}

// timestamp decodes a google.protobuf.Timestamp.
func timestamp(message []byte) (t time.Time, err error) {
	var parts [3]uint64
	err = fields(message, func(number protowire.Number, value []byte) error {
		if number < 3 {
			parts[number], _ = protowire.ConsumeVarint(value)
		}
		return nil
	})
	return time.Unix(int64(parts[1]), int64(parts[2])), err
}

// HTTP asks by Prometheus' API.
type HTTP struct {
	Base   string // with the prefix, without the path
	Client *http.Client
}

// Instant evaluates an expression at a time.
func (h HTTP) Instant(ctx context.Context, expression string, at time.Time) (Result, error) {
	return h.ask(ctx, "/api/v1/query", url.Values{"query": {expression}, "time": {seconds(at)}})
}

// Range evaluates an expression at each step of an interval.
func (h HTTP) Range(ctx context.Context, expression string, from, to time.Time, step time.Duration) (Result, error) {
	return h.ask(ctx, "/api/v1/query_range", url.Values{
		"query": {expression}, "start": {seconds(from)}, "end": {seconds(to)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	})
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

func (h HTTP) ask(ctx context.Context, path string, values url.Values) (Result, error) {
	values.Set("nocache", "1") // VictoriaMetrics would answer with what it came to before
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Base+path+"?"+values.Encode(), nil)
	if err != nil {
		return Result{}, err
	}
	return answerBy(h.Client, request, series)
}

// series counts the series of an answer.
func series(r *Result, body *bufio.Reader) error {
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	r.Bytes = int64(len(text))
	var answer struct {
		Status string
		Data   struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("status %q", answer.Status)
	}
	r.Series = len(answer.Data.Result)
	return nil
}
