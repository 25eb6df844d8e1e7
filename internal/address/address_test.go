package address

import (
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

func TestHost(t *testing.T) {
	for given, want := range map[string]string{
		"a": "a", "a.example": "a.example", "a.example.": "a.example.", "my_host-1": "my_host-1", "localhost": "localhost",
		"192.0.2.1": "192.0.2.1", "::1": "::1", "[::1]": "::1", "[2001:db8::1]": "2001:db8::1", "fe80::1%eth0": "fe80::1%eth0",
		"1password.example": "1password.example", "0a": "0a",
	} {
		got, err := Host(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
	for given, want := range map[string]string{
		"": "the host is empty", "host:80": "without a port", "[::1]:80": "without a port", "http://x": "without a scheme",
		"two words": "neither", " a": "neither", "a\n": "neither", "a/b": "neither", "a..b": "neither", "-a": "neither",
		"[a]": "in brackets", "fe80::1%a b": "its zone", "[192.0.2.1]": "in brackets", "300.0.0.1": "neither", "192.0.2": "neither",
		"0.0.0.0": "where to listen", "::": "where to listen", "[::]": "where to listen", ".": "neither",
		strings.Repeat("a", 64): "neither", strings.Repeat("a.", 128): "neither", "ü": "neither",
	} {
		_, err := Host(given)
		require.ErrorContains(t, err, want, "%q", given)
	}
}

func TestHostPort(t *testing.T) {
	for _, given := range []string{"a:1", "[::1]:65535", "192.0.2.1:80", "a.example.:80", "0.0.0.0:80", "[::]:80"} {
		require.NoError(t, HostPort(given))
	}
	for _, given := range []string{"", "a", ":1", "a:0", "a:65536", "a:http", "a:-1", "::1:80", "http://a:1", "a b:1", "a:1:2", "a:", "a:1/x"} {
		require.Error(t, HostPort(given), given)
	}
}

func TestListen(t *testing.T) {
	for _, given := range []string{":0", ":65535", "[::]:80", "0.0.0.0:80", "localhost:80", "[::1]:80", "192.0.2.1:0"} {
		require.NoError(t, Listen(given))
	}
	for _, given := range []string{"", "80", "localhost", ":", ":x", ":65536", "http://a:1", "a b:1", "::1"} {
		require.Error(t, Listen(given), given)
	}
}

func TestFlags(t *testing.T) {
	parse := func(args ...string) (one, host string, many []string, err error) {
		app := kingpin.New("program", "")
		ListenVar(app.Flag("one", "").Default(":1"), &one)
		HostVar(app.Flag("host", ""), &host)
		ListensVar(app.Flag("many", "").Default(":2", ":3"), &many)
		_, err = app.Parse(args)
		return one, host, many, err
	}
	one, host, many, err := parse()
	require.NoError(t, err)
	require.Equal(t, []any{":1", "", []string{":2", ":3"}}, []any{one, host, many})
	one, host, many, err = parse("--one=:4", "--host=[::1]", "--many=:5,:6", "--many=:7")
	require.NoError(t, err)
	require.Equal(t, []any{":4", "::1", []string{":5", ":6", ":7"}}, []any{one, host, many})
	for arg, want := range map[string]string{
		"--one=x":        `--one: x: want host:port: address x: missing port in address`,
		"--host=host:80": `--host: "host:80": want a host, without a port`,
		"--many=:y":      `--many: :y: the port is not a number from 0 to 65535`,
		"--many=:1,":     `--many: : want host:port: missing port in address`,
	} {
		_, _, _, err = parse(arg)
		require.EqualError(t, err, want)
	}
}

func FuzzHost(f *testing.F) {
	f.Add("a.example")
	f.Add("[::1]")
	f.Fuzz(func(t *testing.T, s string) {
		host, err := Host(s)
		if err != nil {
			return
		}
		again, err := Host(host)
		require.NoError(t, err)
		require.Equal(t, host, again)
		require.False(t, strings.ContainsAny(host, " \t\r\n/[]"))
	})
}
