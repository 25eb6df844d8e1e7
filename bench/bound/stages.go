package bound

import (
	"crypto/sha256"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Stage is a part of the forwarder's work, alone in a thread.
type Stage struct {
	Name string
	CPU  time.Duration
}

// Stages does each part of the forwarder's work with all bodies.
func Stages(version int, bodies [][]byte) ([]Stage, error) {
	runtime.LockOSThread() // whose time is taken
	defer runtime.UnlockOSThread()
	stages := []Stage{{Name: "digest"}, {Name: "decompression"}, {Name: "labels hashed and samples read"}}
	r := request{version: version}
	for _, body := range bodies {
		var at [4]time.Duration
		var err error
		for i, work := range []func(){
			func() {},
			func() { sha256.Sum256(body) },
			func() { err = r.decompress(body) },
			func() {
				if err == nil {
					err = r.scan()
				}
			},
		} {
			work()
			at[i] = threadCPU()
		}
		if err != nil {
			return nil, err
		}
		for i := range stages {
			stages[i].CPU += at[i+1] - at[i]
		}
	}
	return stages, nil
}

// threadCPU is what this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
