package daemon

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestListenerIsExposed(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 8080} }
	for name, test := range map[string]struct {
		l     Listener
		lacks string // "" is not exposed
	}{
		"all addresses":          {Listener{Addr: at("::")}, "TLS and authentication"},
		"all of IPv4":            {Listener{Addr: at("0.0.0.0")}, "TLS and authentication"},
		"one address":            {Listener{Addr: at("192.0.2.1")}, "TLS and authentication"},
		"without authentication": {Listener{Addr: at("::"), TLS: true}, "authentication"},
		"without TLS":            {Listener{Addr: at("::"), Passwords: true}, "TLS"},
		"tokens without TLS":     {Listener{Addr: at("::"), Policies: true}, "TLS"},
		"passwords":              {Listener{Addr: at("::"), TLS: true, Passwords: true}, ""},
		"certificates":           {Listener{Addr: at("::"), TLS: true, ClientCertificates: true}, ""},
		"policies":               {Listener{Addr: at("::"), TLS: true, Policies: true}, ""},
		"loopback":               {Listener{Addr: at("127.0.0.7")}, ""},
		"loopback of IPv6":       {Listener{Addr: at("::1")}, ""},
		"a socket":               {Listener{Addr: &net.UnixAddr{}}, ""},
	} {
		test.l.Name, test.l.Flag = "rpc", "--some.flag"
		var log strings.Builder
		test.l.Log(slog.New(slog.NewTextHandler(&log, nil)))
		require.Equal(t, test.lacks != "", test.l.Exposed(), name)
		require.Equal(t, 1, strings.Count(log.String(), "msg=listening listener=rpc"), name)
		if test.lacks == "" {
			require.NotContains(t, log.String(), "level=WARN", name)
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), name)
		require.Contains(t, log.String(), `msg="listener is open to whoever reaches it" listener=rpc address=`)
		require.Contains(t, strings.ReplaceAll(log.String(), `"`, ""), "lacks="+test.lacks+" mend=--some.flag", name)
	}
}

// A program says so once, of each listener, when it starts.
func TestExposedListenersAreLoud(t *testing.T) {
	for address, config := range map[string]string{"127.0.0.1:0": "", ":0": "", "[::]:0": webConfig(t, "")} {
		var log syncBuffer
		c := DefaultOpsConfig()
		c.WebAddress, c.WebConfigFile = address, config
		w, err := NewOps(c, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry(), func() error { return nil })
		require.NoError(t, err)
		require.NoError(t, w.Close())
		want := map[string]string{":0": `lacks="TLS and authentication" mend=--web.config.file`, "[::]:0": "lacks=TLS mend=--web.config.file"}[address]
		require.Contains(t, log.String(), want)
		require.Equal(t, want != "", strings.Contains(log.String(), "level=WARN"), log.String())
	}
}
