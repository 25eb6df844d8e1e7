// Package subject runs the compared systems, the project and its peers, as the processes
// that a user would run, with default flags where possible.
package subject

import (
	"context"
	"crypto/tls"
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

// Process is a process of a system.
type Process struct {
	Name string
	Dir  string // for its data, which it creates
	log  string

	binary string
	args   []string
	env    []string
	ready  string // URL
	tls    *tls.Config
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
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Dir = filepath.Dir(p.log)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.exited = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: p.tls, DisableKeepAlives: true}}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		response, err := client.Get(p.ready)
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

// Stop terminates it, and kills it if that takes too long.
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

// Disk usage of its data in bytes.
func (p *Process) Disk() (int64, error) { return probe.Disk(p.Dir) }

func (p *Process) tail() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 2 << 10
	return string(log[max(0, len(log)-most):])
}

// addresses returns n on which nobody listens.
func addresses(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // only then, so that all differ
		all = append(all, l.Addr().String())
	}
	return all, nil
}
