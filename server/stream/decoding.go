package stream

import (
	"context"
	"time"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// decoding is a stream's turn to decode files. A segment is decoded from its start, so
// a cursor of a few bytes can cost seconds of work before there is anything to send.
// Only so many streams decode at a time, each peer a share of them, and each passes
// its turn on after a while.
type decoding struct {
	st    *stream
	turn  *limit.Hold
	since time.Time // when it got the turn
	// silent says that a series is open, so that nothing can be sent.
	silent bool
}

// FlagDecodes limits how many streams decode at a time.
const FlagDecodes = "--limit.decodes"

const (
	// decodingTurn is how long a stream decodes while others wait.
	decodingTurn = 20 * time.Millisecond
	// turnPatience is how long a stream waits for its turn.
	turnPatience = 10 * time.Second
)

// step is called before each frame is decoded. An error ends the stream.
func (d *decoding) step() error {
	switch {
	case d.turn.Held() == 0:
		return d.acquire()
	case time.Since(d.since) < decodingTurn:
		return nil
	}
	d.release() // before anything that may wait
	if err := d.st.check(); err != nil {
		return err
	}
	if !d.silent {
		if err := d.st.beat(); err != nil {
			return err
		}
	}
	return d.acquire()
}

// acquire waits for the turn.
func (d *decoding) acquire() error {
	if d.turn.Grow(1) != nil {
		ctx, cancel := context.WithTimeout(d.st.ctx, turnPatience)
		defer cancel()
		if err := d.turn.Wait(ctx, 1); err != nil {
			if d.st.ctx.Err() != nil {
				return context.Cause(d.st.ctx)
			}
			return limit.Busy(FlagDecodes, "no turn to decode the log came within %s", turnPatience)
		}
	}
	d.since = time.Now()
	return nil
}

// wait is the [seglog.Wait] of the stream: others have its turn while the bucket is read,
// and the client gets heartbeats.
func (d *decoding) wait(done <-chan struct{}) error {
	d.release()
	for {
		left := d.st.heartbeat
		if !d.silent {
			left -= time.Since(d.st.lastSent)
		}
		timer := time.NewTimer(left)
		select {
		case <-done:
			timer.Stop()
			return d.acquire()
		case <-d.st.ctx.Done():
			timer.Stop()
			return context.Cause(d.st.ctx)
		case <-timer.C:
		}
		if err := d.st.check(); err != nil {
			return err
		}
		if d.silent {
			continue
		}
		if err := d.st.beat(); err != nil {
			return err
		}
	}
}

// release passes the turn on.
func (d *decoding) release() { d.turn.Release() }

// past is a past state of a log that is being rebuilt.
type past struct {
	*head.Head
	step     func() error
	expected int64 // bytes that it is going to take
}

// ApplyKeyframe implements [seglog.Applier].
func (p *past) ApplyKeyframe(k *segment.Keyframe) error {
	if err := p.Head.ApplyKeyframe(k); err != nil {
		return err
	}
	return p.step()
}

// ApplyBlock implements [seglog.Applier].
func (p *past) ApplyBlock(b *segment.Block) error {
	if err := p.Head.ApplyBlock(b); err != nil {
		return err
	}
	return p.step()
}

func (p *past) bytes() int64 { return max(p.expected, p.Bytes()) }

// rebuild rebuilds a past state of a log. That is about as large as the present one,
// for which room is taken first. With an error, what there is of it is returned too,
// unless the stream has to end.
func (st *stream) rebuild(r *replica.Replica, from func(seglog.Applier) error) (*head.Head, error) {
	p := &past{Head: head.New(), step: st.step, expected: r.Head.Bytes()}
	st.rebuilding = p
	defer func() { st.rebuilding = nil }()
	if err := st.account(); err != nil {
		return nil, err
	}
	defer st.decoding.release()
	if err := st.step(); err != nil {
		return nil, err
	}
	err := from(p)
	if ended := st.check(); ended != nil {
		return nil, ended
	}
	return p.Head, err
}
