package output

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// suspend stops the program, as the terminal asked (Ctrl-Z), until it is continued.
// It calls leave before and back after. It does nothing where nobody could continue
// it: a shell with job control gives each job its own process group, and a program
// started without one is in the group of the session leader.
func suspend(leave, back func()) {
	session, err := unix.Getsid(0)
	if err != nil || session == unix.Getpgrp() {
		return
	}
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	leave()
	// Not SIGTSTP: Go keeps its handler of a signal that was ever asked for.
	if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
		<-goOn
	}
	back()
}
