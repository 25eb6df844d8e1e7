package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
)

const (
	protoV1 = "prometheus.WriteRequest"
	protoV2 = "io.prometheus.write.v2.Request"
)

// handler answers remote-write requests.
type handler struct {
	config  Config
	groups  *groups
	writers *writers
	metrics *metrics
	log     *throttle.Logger
	budget  *limit.Budget
}

func newHandler(c Config, to *groups, w *writers, logger *slog.Logger, m *metrics) *handler {
	return &handler{
		config:  c,
		groups:  to,
		writers: w,
		metrics: m,
		log:     throttle.New(logger, 10*time.Second),
		budget:  newBudget(c),
	}
}

// newBudget bounds what bodies take. Each address has room for one at least.
func newBudget(c Config) *limit.Budget {
	total := int64(c.InflightBytes)
	share := max(total*int64(c.PeerShare)/100, int64(buffer.Size(int(c.RequestBytes)+1))+c.splitRoom())
	return limit.NewBudget(flagInflightBytes, "bytes", total, share)
}

// refusal is an error with the status of its answer.
type refusal struct {
	status int
	err    error
}

func refuse(status int, err error) error { return &refusal{status, err} }

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.metrics.inflight.Inc()
	defer h.metrics.inflight.Dec()

	batch, from, err := h.check(r)
	var verdict *linkv1.Verdict
	if err == nil {
		verdict, err = h.write(w, r, from, batch)
	}
	status := h.answer(w, batch.GetSchema(), verdict, err)
	h.metrics.requests.WithLabelValues(strconv.Itoa(status), schemaName(batch.GetSchema())).Inc()
	h.metrics.duration.Observe(time.Since(start).Seconds())
	if status >= 400 {
		var denied *denial
		if errors.As(err, &denied) {
			h.metrics.denied.WithLabelValues(denied.reason).Inc()
		}
		h.log.Log(level(r, status), "request refused", "status", status, "peer", r.RemoteAddr,
			"user_agent", daemon.Excerpt(r.UserAgent()), "err", reason(verdict, err))
	}
}

// level of the log line of a refusal. vmagent tries its own protocol first, and uses
// Prometheus' own when that is refused: nothing is wrong then.
func level(r *http.Request, status int) slog.Level {
	switch {
	case status == http.StatusUnsupportedMediaType && r.Header.Get("X-Victoriametrics-Remote-Write-Version") != "",
		status == http.StatusMethodNotAllowed && r.URL.Query().Has("get_vm_proto_version"):
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// write reads the body into the batch and gets a forwarder's verdict on it.
func (h *handler) write(w http.ResponseWriter, r *http.Request, from origin, batch *linkv1.Batch) (*linkv1.Verdict, error) {
	b, err := h.readBody(w, r)
	defer b.release()
	if err != nil {
		return nil, err
	}
	data := b.data.Bytes
	h.metrics.bytes.Add(float64(len(data)))
	if err := h.checkSnappy(data); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.config.ForwarderTimeout)
	defer cancel()
	batch.Body = data
	return h.groups.write(ctx, from, batch, b.more)
}

// check makes a batch without a body of what the method and the headers say, if its sender
// may write, and says who that is. Nothing that would change what a request means is passed
// over.
func (h *handler) check(r *http.Request) (*linkv1.Batch, origin, error) {
	batch := &linkv1.Batch{}
	if r.Method != http.MethodPost {
		return batch, origin{}, refuse(http.StatusMethodNotAllowed, fmt.Errorf("method %q is not for remote write, POST is", daemon.Excerpt(r.Method)))
	}
	policy, err := h.writers.admit(r)
	if err != nil {
		return batch, origin{}, err
	}
	if batch.Schema, err = schemaOf(r.Header.Values("Content-Type")); err != nil {
		return batch, origin{}, refuse(http.StatusUnsupportedMediaType, err)
	}
	// Absent means snappy, as in Prometheus' own receiver: there is nothing
	// else that the body could be.
	encodings := r.Header.Values("Content-Encoding")
	if len(encodings) > 1 || len(encodings) == 1 && !strings.EqualFold(strings.TrimSpace(encodings[0]), "snappy") {
		return batch, origin{}, refuse(http.StatusUnsupportedMediaType, fmt.Errorf("content encoding %q is not remote write's, snappy (block format) is", daemon.Excerpt(strings.Join(encodings, ", "))))
	}
	// Others' receivers add labels by a query, or choose a database.
	if r.URL.RawQuery != "" {
		return batch, origin{}, refuse(http.StatusBadRequest, fmt.Errorf("the query %q is not known here, remote write has none", daemon.Excerpt(r.URL.RawQuery)))
	}
	batch.Tenant, err = h.writers.tenantFor(policy, r.Header)
	return batch, senderOf(policy, batch.Tenant, r), err
}

// senderOf returns the sender of a request: its tenant or its policy, if it has one, and
// its address. It may repeat a request over another connection, so its port does not count.
func senderOf(p *access.Policy, tenant *linkv1.Label, r *http.Request) origin {
	name := tenant.GetValue()
	if name == "" && p != nil {
		name = p.Name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return origin{name, host}
}

// schemaOf returns the schema that the content type names. None means 1.0, as
// it did before there was another.
func schemaOf(contentTypes []string) (linkv1.Schema, error) {
	if len(contentTypes) == 0 {
		return linkv1.Schema_SCHEMA_WRITE_V1, nil
	}
	media, params, err := mime.ParseMediaType(contentTypes[0])
	if err != nil || len(contentTypes) > 1 || media != "application/x-protobuf" {
		return 0, fmt.Errorf("content type %q is not remote write's, application/x-protobuf is", daemon.Excerpt(strings.Join(contentTypes, ", ")))
	}
	name, named := params["proto"]
	switch {
	case !named, name == protoV1:
		return linkv1.Schema_SCHEMA_WRITE_V1, nil
	case name == protoV2:
		return linkv1.Schema_SCHEMA_WRITE_V2, nil
	}
	return 0, fmt.Errorf("protobuf message %q is not known here, %s and %s are", daemon.Excerpt(name), protoV1, protoV2)
}

func schemaName(s linkv1.Schema) string {
	switch s {
	case linkv1.Schema_SCHEMA_WRITE_V1:
		return "1.0"
	case linkv1.Schema_SCHEMA_WRITE_V2:
		return "2.0"
	}
	return "none"
}

func reason(v *linkv1.Verdict, err error) string {
	if err == nil {
		return describe(v)
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.err.Error()
	}
	return err.Error()
}
