// Package probe asks the kernel and the file system what processes use. It
// counts CPU time rather than elapsed time, since that is what a machine that
// also does other things tells truly.
package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the time that a process has used, in user mode and in the kernel.
// It is asked of the process' own clock, since /proc tells it in hundredths of a
// second only.
func CPU(pid int) (time.Duration, error) {
	const scheduled = 2 // the kind of clock that clock_getcpuclockid(3) names
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// Memory returns the resident memory of a process, and the most that it had
// since it began or ResetPeak was called, in bytes.
func Memory(pid int) (resident, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(status) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &kib); n == 1 {
			resident = kib << 10
		}
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	return resident, peak, nil
}

// ResetPeak starts the peak of a process' memory anew.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// Traffic is what a process has moved by system calls, to and from files and
// connections alike.
type Traffic struct{ Read, Written int64 }

// Moved returns the traffic of a process since it began.
func Moved(pid int) (t Traffic, err error) {
	counters, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return Traffic{}, err
	}
	if _, err := fmt.Sscanf(string(counters), "rchar: %d\nwchar: %d\n", &t.Read, &t.Written); err != nil {
		return Traffic{}, fmt.Errorf("/proc/%d/io: %w", pid, err)
	}
	return t, nil
}

// Minus returns what was moved since.
func (t Traffic) Minus(before Traffic) Traffic {
	return Traffic{t.Read - before.Read, t.Written - before.Written}
}

// Disk returns the bytes that the files in a folder take up.
func Disk(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // removed under our hands
				return nil
			}
			return err
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size, err
}

// Machine is what a result was measured on.
type Machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memory_gib"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
}

// ThisMachine describes the one that it runs on.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: value("/proc/cpuinfo", "model name")}
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(value("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.MemoryGiB = float64(int(kib/(1<<20)*10)) / 10
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		// Only the number: what follows it names whoever built the kernel.
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(kernel)), "-")
	}
	return m
}

// ticks a second, of the times in /proc: what Linux shows on every platform.
const ticks = 100

// Busy returns the CPU time that the whole machine has used so far.
func Busy() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var busy time.Duration
	for i, field := range strings.Fields(line)[1:] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		const idle, iowait, steal = 3, 4, 7
		if i >= steal { // guests, behind it, are counted as user already
			break
		}
		if i != idle && i != iowait {
			busy += time.Duration(n) * time.Second / ticks
		}
	}
	return busy, nil
}

func value(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
