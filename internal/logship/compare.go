package logship

import (
	"context"
	"fmt"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// DivergedError says that two logs of one id have other blocks.
type DivergedError struct {
	Log    segment.LogID
	Reason string
}

func (e *DivergedError) Error() string { return e.Reason }

// Compare compares a log with another copy, which is at a block with a checksum. If
// the block was never in the log here, or is another one, the error is a
// *DivergedError. One that is not kept here any more passes.
func Compare(ctx context.Context, l *seglog.Log, sequence uint64, checksum uint32) error {
	if last := l.Last(); sequence > last {
		return &DivergedError{l.ID(), fmt.Sprintf("log %s ends at block %d here and is at %d there", l.ID(), last, sequence)}
	}
	sum, kept, err := l.Checksum(ctx, sequence)
	if err != nil {
		return fmt.Errorf("checksum of block %d of log %s: %w", sequence, l.ID(), err)
	}
	if kept && sum != checksum {
		return &DivergedError{l.ID(), fmt.Sprintf("block %d of log %s has the checksum %08x here and %08x there", sequence, l.ID(), sum, checksum)}
	}
	return nil
}
