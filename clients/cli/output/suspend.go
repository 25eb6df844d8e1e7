package output

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// suspend stops the program, which was asked to by the terminal (Ctrl-Z), until
// it is told to go on. It calls leave before, and back after that. Where nobody
// could tell it to go on it does nothing: a shell that can gives each job a
// process group, and what was started without one is in that of the session's
// first process.
func suspend(leave, back func()) {
	session, err := unix.Getsid(0)
	if err != nil || session == unix.Getpgrp() {
		return
	}
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	leave()
	// Not SIGTSTP again: Go keeps its handler of a signal that was asked for once.
	if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
		<-goOn
	}
	back()
}
