package seglog

import "github.com/promgrpc/exporter/internal/invariant"

// group is frames that are written to a segment's file together: to write them one by one
// would cost a system call for each, and the appender's time.
type group struct {
	at     int64 // offset in the file
	frames []byte
}

// maxGroup is how many bytes wait to be written. A sync is never far, unless the disk is
// slow.
const maxGroup = 256 << 10

// add adds a frame, which is at an offset of the file, right after those before.
func (g *group) add(frame []byte, at int64) {
	if len(g.frames) == 0 {
		g.at = at
	}
	if invariant.On {
		invariant.Check(at == g.at+int64(len(g.frames)), "a frame at %d after a group from %d of %d bytes", at, g.at, len(g.frames))
	}
	g.frames = append(g.frames, frame...)
}

// full says that the group should be written before more is added.
func (g *group) full() bool { return len(g.frames) >= maxGroup }

// takeFrom takes the frames of another group, which is empty then. This one has to be.
func (g *group) takeFrom(other *group) { *g, *other = *other, *g }

// write writes the frames, and empties the group. It keeps its memory, unless that is large.
func (g *group) write(f file) error {
	if len(g.frames) == 0 {
		return nil
	}
	_, err := f.WriteAt(g.frames, g.at)
	if g.frames = g.frames[:0]; cap(g.frames) > 2*maxGroup {
		g.frames = nil
	}
	return err
}
