package seglog

import (
	"fmt"
	"os"
)

// OnDisk returns the segments that are on this disk, oldest first.
func (l *Log) OnDisk() []SegmentInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var infos []SegmentInfo
	for _, s := range l.segs {
		if s.local {
			infos = append(infos, s.info())
		}
	}
	return infos
}

// OpenFile opens a segment that is on this disk, to be read as bytes, by any number of
// goroutines: up to the Size that OnDisk said, it does not change. If retention deletes it
// meanwhile, it is read to its end.
func (l *Log) OpenFile(name string) (RemoteSegment, error) {
	l.mu.RLock()
	var found *segFile
	for _, s := range l.segs {
		if s.local && s.name == name {
			found = s
		}
	}
	l.mu.RUnlock()
	if found == nil {
		return nil, fmt.Errorf("segment %s of log %s: %w", name, l.id, os.ErrNotExist)
	}
	f, err := found.open(l.store.fs)
	if err != nil {
		return nil, err
	}
	return openFile{f}, nil
}

type openFile struct{ *sharedReader }

// Close ends the use of the file. It is called once.
func (f openFile) Close() error {
	f.close()
	return nil
}

// SetExpired says that the Remote's retention removes blocks before a sequence: the disk
// need not keep them until they are there.
func (l *Log) SetExpired(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expired = max(l.expired, before)
}
