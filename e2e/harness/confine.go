package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Confine has the kernel kill the process when it takes more memory than limit
// bytes, in this life and those that follow, until the test ends. The error says
// why this machine cannot do it.
func (p *Process) Confine(limit int64) error {
	p.t.Helper()
	dir, file, err := memoryGroup()
	if err != nil {
		return err
	}
	group, err := os.MkdirTemp(dir, "exporter-test-")
	if err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	p.t.Cleanup(func() {
		p.end() // A group with a process in it stays.
		if err := os.Remove(group); err != nil {
			p.t.Logf("remove a control group: %v", err)
		}
	})
	if err := os.WriteFile(filepath.Join(group, file), strconv.AppendInt(nil, limit, 10), 0); err != nil {
		return fmt.Errorf("limit the memory of a control group: %w", err)
	}
	p.group = group
	return p.join()
}

// join moves the process into its control group, if it has one.
func (p *Process) join() error {
	if p.group == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(p.group, "cgroup.procs"), strconv.AppendInt(nil, int64(p.PID()), 10), 0); err != nil {
		return fmt.Errorf("move a process to its control group: %w", err)
	}
	return nil
}

// memoryGroup returns the folder of the control group of this process, in the
// hierarchy that limits memory, and the file that the limit of a group is in.
func memoryGroup() (dir, file string, err error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", "", fmt.Errorf("find the own control group: %w", err)
	}
	const root = "/sys/fs/cgroup"
	for line := range bytes.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[1] == "memory":
			return filepath.Join(root, "memory", fields[2]), "memory.limit_in_bytes", nil
		case fields[1] == "":
			// Version 2, if its groups may limit memory here.
			own := filepath.Join(root, fields[2])
			if children, err := os.ReadFile(filepath.Join(own, "cgroup.subtree_control")); err == nil && strings.Contains(string(children), "memory") {
				return own, "memory.max", nil
			}
		}
	}
	return "", "", errors.New("there is no control group that may limit memory")
}
