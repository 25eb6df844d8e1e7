package forwarder

import (
	"context"
	"fmt"
	"sync"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/link"
)

// receivers serves the connections of receivers.
type receivers struct {
	in            *ingest
	maxBatchBytes int
}

// maxPipelined is how many batches of one connection may wait for a verdict.
const maxPipelined = 256

// serve is a link.Handler.
func (r *receivers) serve(ctx context.Context, c *link.Conn, hello *linkv1.Hello) error {
	if hello.GetRole() != linkv1.Role_ROLE_RECEIVER {
		return fmt.Errorf("a forwarder takes links of receivers, not of %s", hello.GetRole())
	}
	if err := c.Welcome(&linkv1.Welcome{MaxBatchBytes: uint32(r.maxBatchBytes)}); err != nil {
		return err
	}
	// A verdict always finds room in the channel, so that a receiver which does
	// not read keeps nobody else waiting.
	verdicts := make(chan *linkv1.Verdict, maxPipelined)
	slots := make(chan struct{}, maxPipelined)
	var sending sync.WaitGroup
	sending.Go(func() {
		for v := range verdicts {
			// An error is final and ends the reading side as well.
			_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: v}})
			<-slots
		}
	})
	err := r.read(ctx, c, slots, func(v *linkv1.Verdict) { verdicts <- v })
	for range maxPipelined { // all verdicts are sent when all slots are free
		slots <- struct{}{}
	}
	close(verdicts)
	sending.Wait()
	return err
}

func (r *receivers) read(ctx context.Context, c *link.Conn, slots chan struct{}, reply func(*linkv1.Verdict)) error {
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		k, ok := f.GetKind().(*linkv1.Frame_Batch)
		if !ok {
			return fmt.Errorf("a receiver does not send frames of the kind %T", f.GetKind())
		}
		slots <- struct{}{}
		if size := len(k.Batch.GetBody()); size > r.maxBatchBytes {
			err := remotewrite.Over(flagRequestBytes, "body of %d bytes, the limit is %d", size, r.maxBatchBytes)
			r.in.reply(&job{batch: k.Batch, reply: reply}, r.in.refused(fmt.Errorf("%w: %w", remotewrite.ErrTooLarge, err)))
			continue
		}
		if err := r.in.submit(ctx, k.Batch, c.Keep(), reply); err != nil {
			<-slots
			return err
		}
	}
}
