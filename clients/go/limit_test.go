package promgrpc_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func retryIn(d time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
}

func violation() *errdetails.QuotaFailure {
	return &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "selector-size", Description: "too large"}}}
}

// A call that is over a limit of one replica is so at all: it is not repeated.
func TestCallsThatAreOverALimitAreNotRepeated(t *testing.T) {
	for _, protocol := range protocols {
		for _, follow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/follow=%t", protocol, follow), func(t *testing.T) {
				script := func(context.Context, *metricstest.Call) error {
					return metricstest.Error(connect.CodeResourceExhausted, "too large", violation())
				}
				a, b := &metricstest.Server{Script: script}, &metricstest.Server{Script: script}
				c := newClient(t, protocol, promgrpc.Options{}, a.Start(t), b.Start(t))
				err := lastError(t, c, promgrpc.Selection{Follow: follow})
				require.Equal(t, codes.ResourceExhausted, status.Code(err))
				require.ErrorContains(t, err, "too large")
				require.Len(t, append(a.Requests(), b.Requests()...), 1)
			})
		}
		t.Run(string(protocol)+"/lookup", func(t *testing.T) {
			a, b := &metricstest.Server{}, &metricstest.Server{}
			refuse := func(context.Context) error {
				return metricstest.Error(connect.CodeResourceExhausted, "too large", violation())
			}
			a.Lookup, b.Lookup = refuse, refuse
			c := newClient(t, protocol, promgrpc.Options{}, a.Start(t), b.Start(t))
			_, err := c.GetLabelNames(t.Context(), &metricsv1.GetLabelNamesRequest{})
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			require.Equal(t, 1, a.Lookups()+b.Lookups())
		})
	}
}

func TestClientsComeAgainWhenTheyAreTold(t *testing.T) {
	const pause = 300 * time.Millisecond
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Script: sequence(2, 0, func() error {
				return metricstest.Error(connect.CodeResourceExhausted, "full", violation(), retryIn(pause))
			})}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			begin := time.Now()
			require.Equal(t, []int{1, 2}, values(t, c, promgrpc.Selection{Follow: true}))
			require.GreaterOrEqual(t, time.Since(begin), pause)
			require.Len(t, server.Requests(), 2)
		})
	}
}
