package harness

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long the harness waits for something that takes
// milliseconds on a machine that is not busy.
const patience = 60 * time.Second

// Process is a program that runs beside the test. It may be killed, stopped
// and started again; it ends with the test, or with the test binary.
type Process struct {
	// Name of the process in what the test logs.
	Name string

	t      testing.TB
	binary string
	args   []string
	env    []string
	group  string       // its control group; "": none of its own
	web    *http.Client // for its HTTP server, which has TLS; nil: it has none
	stdout *Log
	stderr *Log

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended and its output is read
	err    error         // of cmd.Wait, valid once exited is closed
}

// Start starts binary. An argument that ends in ":0" is a listen address; see
// Restart.
func Start(t testing.TB, name, binary string, args ...string) *Process {
	t.Helper()
	return StartEnv(t, name, nil, binary, args...)
}

// StartEnv is Start with more environment variables, each NAME=VALUE.
func StartEnv(t testing.TB, name string, env []string, binary string, args ...string) *Process {
	t.Helper()
	p := &Process{
		Name: name, t: t, binary: binary, args: args, env: env,
		stdout: newLog(), stderr: newLog(),
	}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("--- log of %s (%s %s)\n%s", p.Name, p.binary, strings.Join(p.args, " "), p.stderr.Tail(8<<10))
		}
	})
	p.start()
	return p
}

func (p *Process) start() {
	p.t.Helper()
	cmd := exec.Command(p.binary, p.args...)
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A descendant that keeps the pipes open must not keep the test waiting.
	cmd.WaitDelay = 5 * time.Second
	if err := startCommand(cmd); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	if err := p.join(); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(exited)
	}()
}

// PID of the process, or of its last life if it has ended.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Stdout that the process has written, in all its lives.
func (p *Process) Stdout() *Log { return p.stdout }

// Stderr that the process has written, in all its lives.
func (p *Process) Stderr() *Log { return p.stderr }

// Signal sends sig.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.PID(), sig); err != nil {
		p.t.Fatalf("signal %s: %v", p.Name, err)
	}
}

// Kill ends the process as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.Wait(patience)
}

// Terminate asks the process to end and returns its exit code.
func (p *Process) Terminate(timeout time.Duration) int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait(timeout)
}

// Wait returns the exit code, and fails the test if the process takes longer
// than timeout to end. A process that a signal ended has the code -1.
func (p *Process) Wait(timeout time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done():
	case <-time.After(timeout):
		p.t.Fatalf("%s did not end within %s", p.Name, timeout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &exit):
		return exit.ExitCode()
	}
	p.t.Fatalf("wait for %s: %v", p.Name, p.err)
	return -1
}

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done():
		return false
	default:
		return true
	}
}

func (p *Process) done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// Restart starts the process again, with the addresses that it got before in
// the place of port 0, so that its peers find it. The process must have ended.
func (p *Process) Restart() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("restart %s: still running", p.Name)
	}
	for i, arg := range p.args {
		name, address, ok := strings.Cut(arg, "=")
		if !ok || !strings.HasSuffix(address, ":0") {
			continue
		}
		listener := strings.TrimSuffix(strings.TrimPrefix(name, "--"), ".listen-address")
		p.args[i] = name + "=" + p.Listening(listener)
	}
	p.stderr.Forget()
	p.start()
}

// Listening waits until the process has logged that the listener listens, in
// its present life, and returns the address.
func (p *Process) Listening(listener string) string {
	p.t.Helper()
	return p.Logged("msg=listening", "listener="+listener)["address"]
}

// Logged waits for a log line with all of the given parts and returns its
// fields.
func (p *Process) Logged(parts ...string) map[string]string {
	p.t.Helper()
	var fields map[string]string
	p.eventually(fmt.Sprintf("log line with %q", parts), func() bool {
		line, ok := p.stderr.Find(parts...)
		fields = logfmt(line)
		return ok
	})
	return fields
}

// Ready waits until /-/ready of an HTTP server answers 200.
func (p *Process) Ready(address string) {
	p.t.Helper()
	client, scheme := http.DefaultClient, "http://"
	if p.web != nil {
		client, scheme = p.web, "https://"
	}
	p.eventually("readiness", func() bool {
		res, err := client.Get(scheme + address + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// eventually waits for what, and fails the test if the process ends first.
func (p *Process) eventually(what string, ok func() bool) {
	p.t.Helper()
	Eventually(p.t, p.Name+": "+what, func() bool {
		if ok() {
			return true
		}
		if !p.Running() && !ok() {
			p.t.Fatalf("%s ended while the test waited for %s", p.Name, what)
		}
		return false
	})
}

// Eventually waits until ok returns true, and fails the test if it never does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// end kills the process and its descendants, if they still run.
func (p *Process) end() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done()
}

// Memory is what /proc says of the memory of a process, in bytes.
type Memory struct{ RSS, Peak int64 }

// Memory that the process uses, and the most that it used since ResetPeak.
func (p *Process) Memory() Memory {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatalf("memory of %s: %v", p.Name, err)
	}
	var m Memory
	for line := range bytes.Lines(status) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &kib); n == 1 {
			m.RSS = kib << 10
		}
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); n == 1 {
			m.Peak = kib << 10
		}
	}
	return m
}

// ResetPeak resets Memory.Peak to the present use.
func (p *Process) ResetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0); err != nil {
		p.t.Fatalf("reset the peak memory of %s: %v", p.Name, err)
	}
}

// startCommand starts cmd from a thread that lives as long as the test binary,
// since Pdeathsig takes effect when the thread ends that started the process.
func startCommand(cmd *exec.Cmd) error {
	starterOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for start := range starter {
				start()
			}
		}()
	})
	result := make(chan error)
	starter <- func() { result <- cmd.Start() }
	return <-result
}

var (
	starterOnce sync.Once
	starter     = make(chan func())
)
