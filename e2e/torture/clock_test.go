package torture

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// daemons is the folder of the receiver, the forwarder, the server and the router, built
// with a standard library whose wall clock can be set for each process. Nothing
// else differs, and the machine's own clock is let be.
var daemons string

// step is what the package time gets for that.
//
//go:embed testdata/step.go
var step []byte

const (
	// Where time.Now asks the kernel, and what is added to the answer. The
	// monotonic clock stays as it is, as it does when a clock is set.
	askedNow = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	setNow   = "\tsec, nsec, mono := runtimeNow()\n\tif stepped != nil {\n\t\tsec += *stepped\n\t}\n\tif mono == 0 {"
)

// buildAndRun builds the daemons and runs the tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "torture-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		daemons, err = dir, buildDaemons(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the daemons:", err)
		return 1
	}
	return harness.Main(m)
}

func buildDaemons(dir string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	from := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(from, "time.go"))
	if err != nil {
		return err
	}
	if n := strings.Count(string(source), askedNow); n != 1 {
		return fmt.Errorf("%s/time.go asks for the time in another way than this test knows: %d places", from, n)
	}
	replaced := map[string][]byte{
		"time.go": []byte(strings.Replace(string(source), askedNow, setNow, 1)),
		"step.go": step,
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, content := range replaced {
		overlay["Replace"][filepath.Join(from, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	content, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	const cmd = "github.com/promgrpc/exporter/cmd/"
	return command("go", "build", "-tags", "invariants", "-overlay", file, "-o", dir+"/",
		cmd+"prometheus-remote-receiver", cmd+"metrics-forwarder", cmd+"prometheus-api-server", cmd+"prometheus-grpc-client")
}

// clock of a process, which can be set while it runs and while it does not.
type clock struct {
	t    testing.TB
	path string
	off  int64 // seconds
}

func newClock(t testing.TB, path string) *clock {
	c := &clock{t: t, path: path}
	c.set(0)
	return c
}

func (c *clock) env() []string { return []string{"TORTURE_CLOCK=" + c.path} }

// set the clock off by so many seconds.
func (c *clock) set(off int64) {
	c.t.Helper()
	f, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(off)), 0)
		_ = f.Close()
	}
	if err != nil {
		c.t.Errorf("set a clock: %v", err)
	}
	c.off = off
}

// mostOff is how far clocks are set off, in seconds: less than the retention.
const mostOff = 6 * 3600

// clocks are the processes whose clocks may be wrong: not of those that judge whether an
// instant at which series move is ahead.
func (r *rig) clocks() []*unit {
	if r.o.moves() {
		return slices.Concat(r.servers, r.routers)
	}
	return r.units
}

// step sets the clock of a process by seconds to hours.
func (r *rig) step(f fault, u *unit) bool {
	by := int64(f.amount)
	if f.kind == clockBack {
		by = -by
	}
	off := min(max(u.clock.off+by, -mostOff), mostOff)
	if off == u.clock.off {
		return false
	}
	r.say("%s of %s: off by %d s", f.kind, u.Name, off)
	u.clock.set(off)
	return true
}
