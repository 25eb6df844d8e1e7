package rpc

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/klauspost/compress/gzip"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/page"
	"github.com/promgrpc/exporter/internal/webconfig"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promapi"
)

// newHTTP returns the server of all protocols on one port. It has no write timeout,
// since streams last: a client that takes nothing is cut off by its stream, and one
// that is gone by pings.
func (s *Service) newHTTP() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           webconfig.WithTLS(s.timed(s.doors.Handler(s.cors(s.named(s.guarded(s.withCaller(s.admitted(s.mux())))))))),
		Protocols:         protocols,
		ReadHeaderTimeout: s.RequestTimeout,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// net/http would answer OPTIONS * itself, after a body that it waits for.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			// A balancer has many clients on one connection. Streams that are reset
			// as soon as they are opened count until their handlers return; four
			// times as many may wait for that.
			MaxConcurrentStreams: s.ConnStreams,
			// This ends a connection that sends nothing, even within a frame or
			// headers.
			SendPingTimeout: 30 * time.Second,
			PingTimeout:     15 * time.Second,
		},
		ConnContext: webconfig.ConnContext,
		ConnState:   s.unused.Track,
		ErrorLog:    log.New(s.Log.Writer(slog.LevelWarn, "rpc server"), "", 0),
	}
}

func (s *Service) mux() *http.ServeMux {
	bounds := connect.WithHandlerOptions(
		connect.WithReadMaxBytes(int(s.RequestBytes)+requestSlack),
		// Clients of Connect ask for gzip unless told not to.
		connect.WithCompression("gzip", s.newGzipReader, newGzipWriter),
		connect.WithCompressMinBytes(1024),
	)
	options := connect.WithHandlerOptions(
		call.Codecs(),
		bounds,
		connect.WithInterceptors(plainErrors{}),
	)
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(s, options))
	// GetMetrics bypasses the generated handler, which knows only messages.
	mux.Handle(metricsv1connect.MetricsServiceGetMetricsProcedure, connect.NewServerStreamHandler(
		metricsv1connect.MetricsServiceGetMetricsProcedure, s.getMetrics,
		connect.WithSchema(metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService").Methods().ByName("GetMetrics")),
		connect.WithIdempotency(connect.IdempotencyNoSideEffects),
		options,
	))
	s.handleQueries(mux, options)
	s.handleHealth(mux, bounds)
	served := append(s.handleStore(mux, options), metricsv1connect.MetricsServiceName, queryv1connect.QueryServiceName, healthName)
	reflector := grpcreflect.NewStaticReflector(served...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, bounds))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, bounds))
	mux.Handle(promapi.Prefix, s.newPromAPI())
	page.Handle(mux)
	return mux
}

// named puts the replica's name into every answer: through a balancer, nothing else
// tells which one it was.
func (s *Service) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Promgrpc-Instance", s.Instance)
		next.ServeHTTP(w, r)
	})
}

func newGzipWriter() connect.Compressor {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return w
}
