package seglog

import (
	"sync"
	"sync/atomic"
	"time"
)

// forced is what a mirror knows of what is on the disk.
type forced struct {
	// changing is held during a sync, a change of segments and Close. It is locked before
	// the locks of mirror and log.
	changing sync.Mutex

	last  atomic.Uint64 // block that is on the disk, with all before it
	size  int64         // of the present segment that is
	named bool          // folders are on the disk with the present segment's name
	asked bool          // Sync was called
	// unsure says that a sync has failed: what was written since the one before may be in
	// memory only, however the next one ends.
	unsure bool
}

// began notes that a segment was created.
func (f *forced) began() { f.size, f.named = 0, false }

// forceFile forces the present segment to the disk. The caller holds forced.changing.
func (m *Mirror) forceFile() error {
	start := time.Now()
	err := m.act.f.Sync()
	m.store.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	m.forced.unsure = m.forced.unsure || err != nil
	return err
}

// Sync forces what is visible to the disk, with the names of files and folders, and
// returns the last block that is there then. Blocks that are appended meanwhile are for
// the next. After an error the mirror is broken, and Close cuts the segment to what is
// known to be on the disk. It may be called concurrently with everything.
func (m *Mirror) Sync() (uint64, error) {
	f := &m.forced
	f.changing.Lock()
	defer f.changing.Unlock()
	if err := m.broken(); err != nil {
		return 0, err
	}
	f.asked = true
	m.log.mu.RLock()
	last, size := m.log.last, int64(0)
	if m.act != nil {
		size = m.act.seg.size // 0 until its keyframe is whole
	}
	m.log.mu.RUnlock()
	if size > f.size {
		if err := m.forceFile(); err != nil {
			return 0, m.fail(err)
		}
	}
	if last > 0 && !f.named {
		for _, dir := range []string{m.log.dir, m.store.path} {
			if err := m.store.fs.SyncDir(dir); err != nil {
				f.unsure = true
				return 0, m.fail(err)
			}
		}
		f.named = true
	}
	f.size = size
	f.last.Store(last)
	return last, nil
}

// Durable is the last block that Sync has forced to the disk since the mirror was opened.
// It does not wait for one that is under way.
func (m *Mirror) Durable() uint64 { return m.forced.last.Load() }
