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

// decoding is a stream's turn at the files of logs. A segment is decoded from its
// beginning: so a cursor of a few bytes can ask for seconds of work before there is
// anything to send. So many streams may decode at a time, one peer a share of them,
// and who has done so for a while lets others go first.
type decoding struct {
	st    *stream
	turn  *limit.Hold
	since time.Time // when the turn began
	// silent says that a series is being put together, so that nothing can be sent.
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

// step is called before each frame that is decoded. An error ends the stream.
func (d *decoding) step() error {
	switch {
	case d.turn.Held() == 0:
		return d.begin()
	case time.Since(d.since) < decodingTurn:
		return nil
	}
	d.end() // Nobody waits for what this one has to wait for.
	if err := d.st.check(); err != nil {
		return err
	}
	if !d.silent {
		if err := d.st.beat(); err != nil {
			return err
		}
	}
	return d.begin()
}

// begin waits for the turn.
func (d *decoding) begin() error {
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

// end lets others go on.
func (d *decoding) end() { d.turn.Release() }

// past is a state of the past that is being rebuilt.
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

// rebuild makes a state of the past of a log, which is about as large as the
// present one: room is taken for that before. What there is of it is returned with
// an error, too, unless that ends the stream.
func (st *stream) rebuild(r *replica.Replica, from func(seglog.Applier) error) (*head.Head, error) {
	p := &past{Head: head.New(), step: st.step, expected: r.Head.Bytes()}
	st.rebuilding = p
	defer func() { st.rebuilding = nil }()
	if err := st.account(); err != nil {
		return nil, err
	}
	defer st.decoding.end()
	if err := st.step(); err != nil {
		return nil, err
	}
	err := from(p)
	if ended := st.check(); ended != nil {
		return nil, ended
	}
	return p.Head, err
}
