package link

import (
	"context"
	"errors"
	"fmt"
	"testing"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/limit"
)

// BenchmarkFrames sends batches of a size over a connection, in cleartext and with TLS.
// An op is one.
func BenchmarkFrames(b *testing.B) {
	private, err := NewPrivate()
	if err != nil {
		b.Fatal(err)
	}
	listener, listenerErr := private.Trust(access.Forwarder, access.Receiver)
	dialler, diallerErr := private.Trust(access.Receiver, access.Forwarder)
	if err := errors.Join(listenerErr, diallerErr); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{200, 50_000, 200_000, 4 << 20} {
		b.Run(fmt.Sprint("cleartext/", size), func(b *testing.B) { benchmarkFrames(b, size, Trust{}, Trust{}) })
		b.Run(fmt.Sprint("TLS/", size), func(b *testing.B) { benchmarkFrames(b, size, listener, dialler) })
	}
}

func benchmarkFrames(b *testing.B, size int, listener, dialler Trust) {
	l, err := Listen("127.0.0.1:0", Options{Trust: listener, Room: limit.NewBudget(flagRoom, "bytes", 64<<20, 32<<20)})
	if err != nil {
		b.Fatal(err)
	}
	received := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(_ context.Context, c *Conn, _ *linkv1.Hello) error {
			err := c.Welcome(&linkv1.Welcome{})
			for err == nil {
				var f *linkv1.Frame
				if f, err = c.Receive(); err == nil && f.GetBatch().GetId() == 1 {
					received <- struct{}{}
				}
			}
			return err
		})
	}()
	c, _, err := Dial(ctx, l.Addr().String(), hello(), Options{Trust: dialler})
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(batch(0, body)); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Send(batch(1, nil)); err != nil {
		b.Fatal(err)
	}
	<-received
	_ = c.Close()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
