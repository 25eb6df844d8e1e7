package server_test

import (
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func secs(n int) *durationpb.Duration   { return durationpb.New(time.Duration(n) * time.Second) }
func millis(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

// codeOf is the code of an error of either library; their numbers are the same.
func codeOf(err error) connect.Code {
	var c *connect.Error
	if errors.As(err, &c) {
		return c.Code()
	}
	return connect.Code(status.Code(err))
}

func requireCode(t testing.TB, want connect.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, codeOf(err), "%v", err)
}

// detail returns the error detail of a type.
func detail[M proto.Message](t testing.TB, err error) M {
	t.Helper()
	m, ok := findDetail[M](err)
	require.True(t, ok, "no such detail: %v", err)
	return m
}

func hasDetail[M proto.Message](err error) bool {
	_, ok := findDetail[M](err)
	return ok
}

func findDetail[M proto.Message](err error) (found M, ok bool) {
	var c *connect.Error
	if errors.As(err, &c) {
		for _, d := range c.Details() {
			v, err := d.Value()
			if m, is := v.(M); err == nil && is {
				return m, true
			}
		}
		return found, false
	}
	for _, d := range status.Convert(err).Details() {
		if m, is := d.(M); is {
			return m, true
		}
	}
	return found, false
}
