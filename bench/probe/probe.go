// Package probe asks the kernel and the file system what processes use: CPU time rather
// than elapsed time, which depends on what else the machine does.
package probe

import (
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

// CPU returns the CPU time of a process, user and system. It reads the process's clock,
// since /proc counts in hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	const scheduled = 2 // the kind of clock that clock_getcpuclockid(3) names
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// Peak returns the peak resident memory of a process in bytes.
func Peak(pid int) (int64, error) {
	kib, err := strconv.ParseInt(value(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"), 10, 64)
	return kib << 10, err
}

// Disk returns the size of the files in a folder, which need not exist.
func Disk(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
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
	if kib, err := strconv.ParseFloat(value("/proc/meminfo", "MemTotal"), 64); err == nil {
		m.MemoryGiB = float64(int(kib/(1<<20)*10)) / 10
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		// Only the number: what follows it names whoever built the kernel.
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(kernel)), "-")
	}
	return m
}

// ticks a second of the times in /proc, the same on every Linux platform.
const ticks = 100

// Busy returns the CPU time that the whole machine has used since it booted.
func Busy() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var user, nice, system, idle, iowait, irq, softirq int64 // guests are counted as users
	if _, err := fmt.Sscanf(string(data), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq); err != nil {
		return 0, fmt.Errorf("/proc/stat: %w", err)
	}
	return time.Duration(user+nice+system+irq+softirq) * time.Second / ticks, nil
}

// value returns the value of a key in a file of /proc, without its unit.
func value(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSuffix(strings.TrimSpace(v), " kB")
		}
	}
	return ""
}
