package listen

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// An address that is in use is refused by an error that says by which flag it
// came, who has the port, and how to choose another.
func TestInUse(t *testing.T) {
	for name, address := range map[string]string{
		"one address": "127.0.0.1:0", "all addresses": ":0", "IPv4": "0.0.0.0:0",
	} {
		t.Run(name, func(t *testing.T) {
			first, err := TCP("--first", address)
			require.NoError(t, err)
			defer first.Close()
			port := first.Addr().(*net.TCPAddr).Port
			for _, second := range []string{fmt.Sprint("127.0.0.1:", port), fmt.Sprint(":", port), fmt.Sprint("localhost:", port)} {
				_, err = TCP("--rpc.listen-address", second)
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				require.EqualError(t, err, fmt.Sprintf("--rpc.listen-address=%s: address already in use by %s (process %d): "+
					"choose another by --rpc.listen-address=HOST:PORT or PROMGRPC_RPC_LISTEN_ADDRESS",
					second, filepath.Base(os.Args[0]), os.Getpid()))
				require.Equal(t, err.Error(), Check("--rpc.listen-address", second).Error())
			}
			require.NoError(t, first.Close())
			require.NoError(t, Check("--first", first.Addr().String()))
		})
	}
}

// What cannot be bound for another reason is refused with that, and the flag.
func TestOtherReasons(t *testing.T) {
	for _, address := range []string{"192.0.2.1:0", "localhost", "127.0.0.1:nowhere"} {
		_, err := TCP("--web.listen-address", address)
		require.ErrorContains(t, err, "--web.listen-address: listen tcp")
		require.NotContains(t, err.Error(), "in use")
	}
}

// A line of /proc/net/tcp may be of any kernel.
func FuzzParseListener(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0")
	f.Add("   1: 00000000000000000000000000000000:1F9A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12 1")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseListener(line); ok {
			require.True(t, s.local.IsValid())
			require.True(t, s.meets(s.local))
		}
	})
}
