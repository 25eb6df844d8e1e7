package output

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrReaderGone is the cause of a context when nobody reads the output any more.
// It ends the program just as EPIPE does.
var ErrReaderGone = fmt.Errorf("nobody reads the output: %w", syscall.EPIPE)

// WhileRead returns a context that ends when the other end of f is closed (a pipe, a
// socket, or a terminal that hung up), so that a stream ends even while it has
// nothing to write. stop releases what this takes. Where the system cannot tell,
// only a write shows it.
func WhileRead(ctx context.Context, f *os.File) (_ context.Context, stop func()) {
	if f == nil {
		return ctx, func() {}
	}
	stopped, stopping, err := os.Pipe()
	if err != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if readerGone(int32(f.Fd()), int32(stopped.Fd())) {
			cancel(ErrReaderGone)
		}
	}()
	return ctx, func() {
		_ = stopping.Close()
		<-done
		_ = stopped.Close()
		cancel(nil)
	}
}

// readerGone waits until one of two descriptors has lost its other end, and
// reports whether it was the output.
func readerGone(output, stop int32) bool {
	ends := []unix.PollFd{{Fd: output}, {Fd: stop}}
	for {
		_, err := unix.Poll(ends, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || ends[1].Revents != 0 || ends[0].Revents&unix.POLLNVAL != 0:
			return false
		case ends[0].Revents != 0:
			return true
		}
	}
}
