// Package listen binds the addresses that flags give. Its errors name the flag and, on
// Linux and as far as permissions allow, the process that has the port.
package listen

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/promgrpc/exporter/internal/envar"
)

// Error says that an address cannot be bound.
type Error struct {
	// Flag that gave the address, such as --web.listen-address.
	Flag string
	// Address as the flag gave it.
	Address string
	// Owner of the port, as far as it is known.
	Owner string
	// Err is what the kernel said.
	Err error
}

func (e *Error) Error() string {
	if !errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("%s: %v", e.Flag, e.Err)
	}
	by := ""
	if e.Owner != "" {
		by = " by " + e.Owner
	}
	return fmt.Sprintf("%[1]s=%[2]s: address already in use%[3]s: choose another by %[1]s=HOST:PORT or %[4]s",
		e.Flag, e.Address, by, envar.Name(e.Flag))
}

func (e *Error) Unwrap() error { return e.Err }

// TCP listens on an address, with port 0 on a free port. Its error is an
// [*Error].
func TCP(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	refused := &Error{Flag: flag, Address: address, Err: err}
	if errors.Is(err, syscall.EADDRINUSE) {
		refused.Owner = owner(address)
	}
	return nil, refused
}

// Check returns the error that TCP would return now.
func Check(flag, address string) error {
	l, err := TCP(flag, address)
	if err != nil {
		return err
	}
	return l.Close()
}
