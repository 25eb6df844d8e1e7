package link

import (
	"context"
	"fmt"
	"testing"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/limit"
)

// BenchmarkFrames sends batches of a size over a connection. An op is one.
func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{200, 50_000, 200_000, 4 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkFrames(b, size) })
	}
}

func benchmarkFrames(b *testing.B, size int) {
	l, err := Listen("127.0.0.1:0", Options{Room: limit.NewBudget(flagRoom, "bytes", 64<<20, 32<<20)})
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
	c, _, err := Dial(ctx, l.Addr().String(), hello(), Options{})
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
