package forwarder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/usage"
)

// A forwarder takes batches of receivers, and sends its log to servers. Any other part
// is refused, though its certificate is of the same authority.
func TestOnlyReceiversAndServers(t *testing.T) {
	private, err := link.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	trust := func(own, peer access.Role) link.Trust {
		trust, err := private.Trust(own, peer)
		if err != nil {
			t.Fatal(err)
		}
		return trust
	}
	listen := func(own access.Role) (address string, hellos <-chan *linkv1.Hello) {
		l, err := link.Listen("127.0.0.1:0", link.Options{Logger: discard, Trust: trust(own, access.Forwarder)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		came := make(chan *linkv1.Hello, 100)
		go func() {
			ended <- l.Run(ctx, func(_ context.Context, _ *link.Conn, hello *linkv1.Hello) error {
				came <- hello
				return errors.New("not now")
			})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return l.Addr().String(), came
	}
	wrong, ofWrong := listen(access.Receiver)
	right, ofRight := listen(access.Server)
	c := testConfig(t.TempDir())
	c.Private, c.Server = private, wrong+","+right
	r := start(t, c)
	for range 3 { // The wrong one is dialled as often.
		if hello := <-ofRight; hello.GetRole() != linkv1.Role_ROLE_FORWARDER {
			t.Fatal(hello)
		}
	}
	if len(ofWrong) > 0 {
		t.Error("a log is sent to a receiver")
	}

	for own, want := range map[access.Role]string{access.Receiver: "", access.Forwarder: "receiver", access.Server: "receiver"} {
		c, _, err := link.Dial(t.Context(), r.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER}, link.Options{Trust: trust(own, access.Forwarder)})
		if want == "" {
			if err != nil {
				t.Error(err)
			} else if err := c.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		var bye *link.GoodbyeError
		if !errors.As(err, &bye) || !strings.Contains(bye.Reason, want) {
			t.Errorf("a %s gets %v", own, err)
		}
	}
}

// What could let nobody in, or reach nobody, is a mistake in the flags.
func TestTrustInFlags(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, change := range map[string]func(*Config){
		link.FlagConfigFile: func(c *Config) { c.AccessFile = file("receivers.yml", "roles: {receiver: [a]}") },
		"tls_server_config": func(c *Config) { c.LinkConfigFile = file("link.yml", "basic_auth_users: {}") },
		"--server.tls-ca-file": func(c *Config) {
			c.AccessFile, c.Server = file("servers.yml", "roles: {server: [a]}"), "127.0.0.1:1"
		},
	} {
		c := testConfig(t.TempDir())
		change(&c)
		_, err := New(c, discard, nil)
		var mistake *usage.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
}
