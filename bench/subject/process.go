// Package subject runs what is compared: the project and its peers, each as the
// processes that a user would run, with default flags where there is a choice.
package subject

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/promgrpc/exporter/bench/probe"
)

// Process is one of a system's.
type Process struct {
	Name string
	Dir  string // of its data, to be created by the process
	log  string

	binary string
	args   []string
	ready  string // URL
	cmd    *exec.Cmd
	exited chan struct{}
}

const patience = 2 * time.Minute

// Start starts it and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(p.binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Dir = filepath.Dir(p.log)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.exited = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		response, err := http.Get(p.ready)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode/100 == 2 {
				return nil
			}
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", p.Name, p.tail())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %s", p.Name, patience, p.tail())
		}
	}
}

// Stop asks it to end, and kills it if it does not.
func (p *Process) Stop() {
	if p.exited == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// CPU that it has used.
func (p *Process) CPU() (time.Duration, error) { return probe.CPU(p.cmd.Process.Pid) }

// Peak of its memory in bytes.
func (p *Process) Peak() (int64, error) { return probe.Peak(p.cmd.Process.Pid) }

// Disk that its data takes up, in bytes.
func (p *Process) Disk() (int64, error) { return probe.Disk(p.Dir) }

func (p *Process) tail() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 2 << 10
	return string(log[max(0, len(log)-most):])
}

// address returns one on which nobody listens.
func address() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// addresses returns n of them.
func addresses(n int) ([]string, error) {
	all := make([]string, n)
	var errs []error
	for i := range all {
		var err error
		all[i], err = address()
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}
