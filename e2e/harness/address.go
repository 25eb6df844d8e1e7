package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
)

var hosts atomic.Uint32

// Host returns a loopback address that no other process of this test binary
// has, nor, most probably, any other test binary on the machine.
//
// A port of it cannot be taken by an outgoing connection either, since those
// leave from 127.0.0.1.
func Host() string {
	n := hosts.Add(1)
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 1+(pid>>6)%254, (pid<<2)&0xfc|int(n/250)&3, 1+n%250)
}

// Ports that the kernel gives to nobody who asks for any, by default.
const (
	lowestPort  = 10_000
	highestPort = 32_767
)

// Address returns a port of a host that nobody listens at by TCP or UDP, on all
// addresses of the machine neither. Nobody else is given it until the test ends.
//
// It is for programs that cannot be asked which port they got. They have to set
// SO_REUSEADDR, as Go's listeners and HAProxy's do.
func Address(t testing.TB, host string) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("%s:%d", host, lowestPort+rand.IntN(highestPort-lowestPort+1))
		if reserve(t, address) {
			return address
		}
	}
	t.Fatalf("no port of %s is free", host)
	return ""
}

// Port is the port of an Address.
func Port(t testing.TB, host string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(Address(t, host))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// reserve says whether a port is free, and if so keeps it until the test ends: a
// TCP socket that is bound but does not listen does not block programs that set
// SO_REUSEADDR, and others do not get its port.
func reserve(t testing.TB, address string) bool {
	t.Helper()
	var config net.ListenConfig
	udp, err := config.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	// Whether somebody listens tells a socket that does as well.
	tcp, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return false
	}
	_ = tcp.Close()
	bound, err := bind(address)
	if err != nil {
		return false
	}
	t.Cleanup(func() { _ = syscall.Close(bound) })
	return true
}

func bind(address string) (socket int, err error) {
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return 0, err
	}
	if socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
	}
	if err != nil {
		_ = syscall.Close(socket)
		return 0, fmt.Errorf("bind %s: %w", address, err)
	}
	return socket, nil
}
