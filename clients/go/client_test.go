package promgrpc_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

func answers() *metricstest.Server {
	return &metricstest.Server{
		LabelNames:  &metricsv1.GetLabelNamesResponse{Names: []string{"a"}},
		LabelValues: &metricsv1.GetLabelValuesResponse{Values: []string{"b"}},
		Metadata:    &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{{MetricFamilyName: "c"}}},
		Segments:    &metricsv1.ListSegmentsResponse{Segments: []*metricsv1.Segment{{Name: "d"}}},
		Status:      &metricsv1.GetStatusResponse{Instance: "e"},
	}
}

func TestCallsFailOver(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			dead, alive := answers(), answers()
			a, b := dead.Start(t), alive.Start(t)
			c := newClient(t, protocol, promgrpc.Options{}, a, b)
			for range 2 {
				names, err := c.GetLabelNames(t.Context(), &metricsv1.GetLabelNamesRequest{})
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, names.GetNames())
				values, err := c.GetLabelValues(t.Context(), &metricsv1.GetLabelValuesRequest{Name: "a"})
				require.NoError(t, err)
				require.Equal(t, []string{"b"}, values.GetValues())
				metadata, err := c.GetMetadata(t.Context(), &metricsv1.GetMetadataRequest{})
				require.NoError(t, err)
				require.Equal(t, "c", metadata.GetMetadata()[0].GetMetricFamilyName())
				segments, err := c.ListSegments(t.Context())
				require.NoError(t, err)
				require.Equal(t, "d", segments.GetSegments()[0].GetName())
				state, err := c.GetStatus(t.Context())
				require.NoError(t, err)
				require.Equal(t, "e", state.GetInstance())
				dead.Stop()
			}
		})
	}
}

func TestCallsEnd(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := newClient(t, protocol, promgrpc.Options{CallTimeout: 50 * time.Millisecond}, silent.Addr().String())
			_, err := c.GetStatus(t.Context())
			var u *promgrpc.UnreachableError
			require.ErrorAs(t, err, &u)
			require.Equal(t, codes.DeadlineExceeded, status.Code(u.Errors[0]))

			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err = c.GetStatus(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)

			server := &metricstest.Server{}
			_, err = newClient(t, protocol, promgrpc.Options{}, server.Start(t)).GetStatus(t.Context())
			require.Equal(t, codes.Unimplemented, status.Code(err))

			require.NoError(t, c.Close())
			_, err = c.GetStatus(t.Context())
			require.EqualError(t, err, "client is closed")
		})
	}
}

func TestTLS(t *testing.T) {
	mux := http.NewServeMux()
	service := answers()
	service.Script = sequence(3, 1, func() error { metricstest.Abort(); return nil })
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(service))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			o := promgrpc.Options{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
			c := newClient(t, protocol, o, server.Listener.Addr().String())
			require.Equal(t, []int{1, 2, 3}, values(t, c, promgrpc.Selection{}))
			_, err := c.GetStatus(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		addresses []string
		protocol  promgrpc.Protocol
	}{
		"no address":       {nil, ""},
		"a scheme":         {[]string{"http://localhost:1"}, ""},
		"no port":          {[]string{"localhost"}, ""},
		"unknown protocol": {[]string{"localhost:1"}, "carrier pigeon"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := promgrpc.New(tc.addresses, promgrpc.Options{Protocol: tc.protocol})
			require.Error(t, err)
		})
	}
	_, err := promgrpc.New([]string{"localhost:1"}, promgrpc.Options{TLS: &tls.Config{MinVersion: tls.VersionTLS13}, RenewTLS: func() (*tls.Config, error) { return nil, nil }})
	require.ErrorContains(t, err, "both")
	c := newClient(t, "", promgrpc.Options{}, "localhost:1")
	require.ErrorContains(t, lastError(t, c, promgrpc.Selection{Cursor: "c", Since: new(time.Now())}), "both")
}

func TestTextThatCannotBeSent(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			for _, q := range []promgrpc.Selection{{Selectors: []string{"\xff"}}, {Cursor: "\xff"}, {Selectors: []string{"\xff"}, Follow: true}} {
				for _, err := range c.Get(t.Context(), q) {
					require.ErrorContains(t, err, "UTF-8")
				}
			}
			_, err := c.GetLabelValues(t.Context(), &metricsv1.GetLabelValuesRequest{Name: "\xff"})
			require.ErrorContains(t, err, "invalid UTF-8")
			require.Empty(t, server.Requests())
		})
	}
}
