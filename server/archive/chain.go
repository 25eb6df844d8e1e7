package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// The last segment of a log whose forwarder died never gets a footer: its pieces stay in
// the bucket, and together they are the segment. What a footer would say is read from the
// frames, once, where the log is on no disk here.

// readChains reads the frames of the chains of logs that are not on this disk.
func (c *catalogue) readChains(ctx context.Context) {
	type chain struct {
		id     segment.LogID
		name   string
		pieces []layout.Piece
		state  entry
	}
	var todo []chain
	c.mu.Lock()
	for id, segments := range c.logs {
		if c.archive.isLocal(id) {
			continue
		}
		for name, e := range segments {
			if !e.sealed && !e.bad && !e.broken && e.chainEnd() > e.read {
				todo = append(todo, chain{id, name, layout.Chain(e.pieces), *e})
			}
		}
	}
	c.mu.Unlock()
	for _, t := range todo {
		e := t.state
		err := c.archive.readChain(ctx, t.id, t.name, t.pieces, &e)
		switch {
		case err == nil, errors.Is(err, context.Canceled):
		case isBad(err):
			c.archive.logger.Error("pieces in the bucket are damaged: they are read up to there, and left alone", "log_id", t.id.String(), "segment", t.name, "read", e.read, "err", err)
			e.broken, e.bad = true, e.read == 0
		default:
			c.archive.logger.Warn("pieces of a segment cannot be read", "log_id", t.id.String(), "segment", t.name, "err", err)
		}
		c.mu.Lock()
		if now := c.logs[t.id][t.name]; now != nil && !now.sealed {
			now.info, now.written, now.read, now.bad, now.broken = e.info, e.written, e.read, e.bad, e.broken
		}
		c.mu.Unlock()
	}
}

// setChain takes from the disk what the pieces of a segment come to, and says whether it
// was not known.
func (c *catalogue) setChain(id segment.LogID, s seglog.SegmentInfo, checksum uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.logs[id][s.Name]
	if e == nil || e.sealed || e.bad || e.chainEnd() != s.Size || e.read == s.Size {
		return false
	}
	e.read = s.Size
	e.info.Size, e.info.LastSequence, e.info.Checksum = s.Size, s.LastSequence, checksum
	e.info.MinTime, e.info.MaxTime = s.MinTime, s.MaxTime
	return true
}

// isLocal says whether a log is on this disk.
func (a *Archive) isLocal(id segment.LogID) bool { return a.replicas != nil && a.replicas.Local(id) }

// readChain reads the frames of pieces from where they were read to, and takes as many
// pieces as are good.
func (a *Archive) readChain(ctx context.Context, id segment.LogID, name string, pieces []layout.Piece, e *entry) error {
	for _, p := range pieces {
		if p.Offset < e.read {
			continue
		}
		next := *e
		if err := a.readPiece(ctx, layout.Object{Log: id, Segment: name, Piece: true, Offset: p.Offset}, p, &next); err != nil {
			return err
		}
		next.read = p.Offset + p.Size
		next.info.Size = next.read
		*e = next
	}
	return nil
}

// readPiece reads the headers of the frames of one piece.
func (a *Archive) readPiece(ctx context.Context, o layout.Object, p layout.Piece, e *entry) error {
	ctx, cancel := within(ctx, p.Size)
	defer cancel()
	a.metrics.requests.WithLabelValues("get").Inc()
	body, err := a.bucket.Open(ctx, o.Name(), 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: p.Size}
	r := bufio.NewReaderSize(limited, 64<<10)
	left := p.Size
	if p.Offset == 0 {
		var b [segment.HeaderSize]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		h, err := segment.ParseHeader(b[:])
		if err != nil {
			return err
		}
		if h.LogID != o.Log || h.FirstSequence != e.info.FirstSequence {
			return fmt.Errorf("%w: it is of log %s from block %d on", segment.ErrCorrupt, h.LogID, h.FirstSequence)
		}
		e.info.Checksum = h.PrevChecksum
		left -= segment.HeaderSize
	}
	for left > 0 {
		n, err := readFrame(r, e)
		if limited.N == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			return fmt.Errorf("%w: it ends within a frame", segment.ErrCorrupt)
		}
		if err != nil {
			return err
		}
		left -= n
	}
	a.metrics.downloaded.Add(float64(p.Size))
	return nil
}

// readFrame reads the header of a frame, and skips its payload.
func readFrame(r *bufio.Reader, e *entry) (int64, error) {
	var b [segment.FrameHeaderSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	h, err := segment.ParseFrameHeader(b[:])
	if err != nil {
		return 0, err
	}
	if _, err := io.CopyN(io.Discard, r, h.Len()-segment.FrameHeaderSize); err != nil {
		return 0, err
	}
	e.written = time.UnixMilli(h.Time)
	if h.Kind != segment.KindBlock {
		return h.Len(), nil
	}
	if h.Sequence != e.info.LastSequence+1 {
		return 0, fmt.Errorf("%w: block %d after block %d", segment.ErrCorrupt, h.Sequence, e.info.LastSequence)
	}
	e.info.LastSequence, e.info.Checksum = h.Sequence, h.Checksum
	e.info.MinTime, e.info.MaxTime = min(e.info.MinTime, h.MinTime), max(e.info.MaxTime, h.MaxTime)
	return h.Len(), nil
}
