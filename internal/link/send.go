package link

import (
	"fmt"
	"net"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

const (
	// copyPayload is the size up to which a payload is copied after its head,
	// rather than handed to the kernel as it is.
	copyPayload = 16 << 10
	// flushAt is how much is gathered before it is written.
	flushAt = 64 << 10
	// writeStep is how much a single write deadline is for.
	writeStep = 1 << 20
)

// Send writes frames, which share a write where they are small. It returns when
// they are with the kernel, or when another Send that is under way will take
// them there along with its own: frames of many senders share their writes, and
// none waits for a timer. The frames and their bytes are the caller's again.
//
// ErrFrameTooLarge leaves the connection as it was, with the frames before the
// large one sent. Any other error is final, also for the frames of senders
// before whose Send returned nil.
func (c *Conn) Send(frames ...*linkv1.Frame) error {
	c.senders.Add(1)
	c.mu.Lock()
	c.senders.Add(-1)
	defer c.mu.Unlock()
	if c.writeErr != nil {
		return c.writeErr
	}
	var err error
	for _, f := range frames {
		if err = c.add(f); err != nil {
			break
		}
	}
	// Others may have left it to this Send to flush theirs.
	if c.writeErr != nil || len(c.unwritten) == 0 || c.senders.Load() > 0 {
		return err
	}
	if flushErr := c.flush(nil); flushErr != nil {
		return flushErr
	}
	return err
}

// add appends a frame to what is not written yet, and flushes that when it is much. The caller
// holds mu.
func (c *Conn) add(f *linkv1.Frame) error {
	head, payload, kind, err := appendFrame(c.unwritten, f, DefaultMaxFrame)
	if err != nil {
		return err
	}
	c.unwritten = head
	c.o.Metrics.sent[kind].Inc()
	if len(payload) > copyPayload {
		return c.flush(payload)
	}
	c.unwritten = append(c.unwritten, payload...)
	if len(c.unwritten) >= flushAt {
		return c.flush(nil)
	}
	return nil
}

// flush writes what is not written yet, then the payload. The caller holds mu.
func (c *Conn) flush(payload []byte) error {
	total := len(c.unwritten) + len(payload)
	first := min(len(payload), writeStep)
	c.writeBy.push(c.o.WriteTimeout, c.conn.SetWriteDeadline)
	var err error
	if first == 0 {
		_, err = c.conn.Write(c.unwritten)
	} else {
		_, err = (&net.Buffers{c.unwritten, payload[:first]}).WriteTo(c.conn)
	}
	for payload = payload[first:]; err == nil && len(payload) > 0; {
		n := min(len(payload), writeStep)
		c.writeBy.push(c.o.WriteTimeout, c.conn.SetWriteDeadline)
		_, err = c.conn.Write(payload[:n])
		payload = payload[n:]
	}
	c.unwritten = c.unwritten[:0]
	if cap(c.unwritten) > keepBuffer {
		c.unwritten = nil
	}
	if err != nil {
		c.writeErr = fmt.Errorf("link: send: %w", err)
		return c.writeErr
	}
	c.lastSent.Store(int64(time.Since(c.began)))
	c.o.Metrics.bytesSent.Add(float64(total))
	return nil
}

// keepAlive sends a ping whenever nothing else was sent for a while, so that a
// peer hears from this side even while this side's reader is busy. It also looks
// whether the peer may still be there.
func (c *Conn) keepAlive() {
	tick := time.NewTicker(c.o.PingInterval / 2)
	defer tick.Stop()
	var id uint64
	for {
		var f *linkv1.Frame
		select {
		case <-c.closed:
			return
		case ping := <-c.pongDue:
			f = &linkv1.Frame{Kind: &linkv1.Frame_Pong{Pong: &linkv1.Pong{Id: ping}}}
		case <-tick.C:
			if why := c.checkPeer(); why != nil {
				c.expel(why)
				return
			}
			if time.Since(c.began)-time.Duration(c.lastSent.Load()) < c.o.PingInterval*3/4 {
				continue
			}
			id++
			f = &linkv1.Frame{Kind: &linkv1.Frame_Ping{Ping: &linkv1.Ping{Id: id}}}
		}
		if c.Send(f) != nil {
			return // Receive and the next Send tell it to those who care.
		}
	}
}

func goodbye(reason string) *linkv1.Goodbye {
	return &linkv1.Goodbye{Reason: shorten(reason, maxReason)}
}
