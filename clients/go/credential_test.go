package promgrpc_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

// counted is a server that counts the requests that reach it.
func counted(t *testing.T) (address string, requests *atomic.Int32) {
	t.Helper()
	server := answers()
	server.Script = sequence(1, 0, func() error { return nil })
	requests = new(atomic.Int32)
	server.Before = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			next.ServeHTTP(w, r)
		})
	}
	return server.Start(t), requests
}

// elsewhere is the address of a server here, written as none that is known to be here.
func elsewhere(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return net.JoinHostPort("0.0.0.0", port)
}

func secret(context.Context) (string, error) { return "Bearer secret", nil }

// Nobody's credential goes over the network in the clear unless that was asked for,
// whatever it is and however the server was found.
func TestCredentialsAreNotSentInTheClear(t *testing.T) {
	for _, protocol := range protocols {
		for name, o := range map[string]promgrpc.Options{
			"a token":        {Authorization: secret},
			"a header":       {Header: http.Header{"Authorization": {"Basic c2VjcmV0"}}},
			"a cookie":       {Header: http.Header{"cookie": {"session=secret"}}},
			"a named header": {Header: http.Header{"X-Api-Key": {"secret"}}},
		} {
			t.Run(string(protocol)+"/"+name, func(t *testing.T) {
				address, requests := counted(t)
				far := elsewhere(t, address)
				var refused *promgrpc.CleartextError
				_, err := promgrpc.New([]string{address, far}, o)
				require.ErrorAs(t, err, &refused)
				require.Equal(t, far, refused.Address)
				require.NotContains(t, err.Error(), "secret")

				found := o
				found.Resolve = func(context.Context) ([]string, error) { return []string{far}, nil }
				c := newClient(t, protocol, found)
				_, err = c.GetStatus(t.Context())
				require.ErrorAs(t, err, &refused)
				for _, follow := range []bool{false, true} {
					require.ErrorAs(t, lastError(t, c, promgrpc.Selection{Follow: follow}), &refused)
				}
				require.Zero(t, requests.Load(), "nothing was sent")

				found.AllowCleartextCredentials = true
				_, err = newClient(t, protocol, found).GetStatus(t.Context())
				require.NoError(t, err)
				_, err = newClient(t, protocol, o, address).GetStatus(t.Context())
				require.NoError(t, err, "nobody listens on the way to this machine")
			})
		}
		t.Run(string(protocol)+"/metadata", func(t *testing.T) {
			address, requests := counted(t)
			c := newClient(t, protocol, promgrpc.Options{}, elsewhere(t, address))
			var refused *promgrpc.CleartextError
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret")
			_, err := c.GetStatus(ctx)
			require.ErrorAs(t, err, &refused)
			require.Zero(t, requests.Load())
			_, err = c.GetStatus(metadata.AppendToOutgoingContext(t.Context(), "x-tenant", "a"))
			require.NoError(t, err)
		})
	}
}

// What a server says of a credential is final, over every protocol, and reaches the
// caller.
func TestRefusedCredentialsAreFinal(t *testing.T) {
	for _, protocol := range protocols {
		for _, code := range []connect.Code{connect.CodeUnauthenticated, connect.CodePermissionDenied} {
			t.Run(string(protocol)+"/"+code.String(), func(t *testing.T) {
				refuse := func() error { return metricstest.Error(code, "team-a may read {team=\"a\"} only") }
				a, b := answers(), answers()
				for _, server := range []*metricstest.Server{a, b} {
					server.Script = func(context.Context, *metricstest.Call) error { return refuse() }
					server.Lookup = func(context.Context) error { return refuse() }
				}
				c := newClient(t, protocol, promgrpc.Options{Authorization: secret}, a.Start(t), b.Start(t))
				_, err := c.GetLabelNames(t.Context(), nil)
				for _, err := range []error{err, lastError(t, c, promgrpc.Selection{}), lastError(t, c, promgrpc.Selection{Follow: true})} {
					require.Equal(t, codes.Code(code), status.Code(err))
					require.ErrorContains(t, err, `team-a may read {team="a"} only`)
				}
				require.Equal(t, 1, a.Lookups()+b.Lookups())
				require.Len(t, append(a.Requests(), b.Requests()...), 2)
			})
		}
	}
}

// A token that is renewed between reading and its refusal is tried, once.
func TestRenewedCredentialsAreTriedOnce(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			write := func(token string) { require.NoError(t, os.WriteFile(file, []byte(token), 0o600)) }
			write("old")
			var guard metricstest.Guard
			guard.Expect("new")
			server := answers()
			server.Script = func(_ context.Context, call *metricstest.Call) error {
				if err := call.Send(response(1)); err != nil {
					return err
				}
				return call.Send(end())
			}
			var tries atomic.Int32
			server.Before = func(next http.Handler) http.Handler {
				guarded := guard.Before(next)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tries.Add(1) == 1 {
						write("new")
					}
					guarded.ServeHTTP(w, r)
				})
			}
			address := server.Start(t)
			c := newClient(t, protocol, promgrpc.Options{Authorization: promgrpc.TokenFile(file), MaxReconnects: -1}, address)
			_, err := c.GetStatus(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 2, tries.Swap(0))
			write("old")
			require.Equal(t, []int{1}, values(t, c, promgrpc.Selection{}))
			require.EqualValues(t, 2, tries.Load())

			// One that is another each time is not tried for ever.
			var n atomic.Int32
			c = newClient(t, protocol, promgrpc.Options{Authorization: func(context.Context) (string, error) {
				return "Bearer " + string('a'+n.Add(1)), nil
			}}, address)
			tries.Store(1)
			require.Equal(t, codes.Unauthenticated, status.Code(lastError(t, c, promgrpc.Selection{Follow: true})))
			require.EqualValues(t, 3, tries.Load())
		})
	}
}

func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("open sesame\n"), 0o600))
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := answers()
			server.Before = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					user, password, _ := r.BasicAuth()
					if user != "ann" || password != "open sesame" {
						http.Error(w, "who are you?", http.StatusUnauthorized)
						return
					}
					next.ServeHTTP(w, r)
				})
			}
			address := server.Start(t)
			_, err := newClient(t, protocol, promgrpc.Options{Authorization: promgrpc.PasswordFile("ann", file)}, address).GetStatus(t.Context())
			require.NoError(t, err)
			_, err = newClient(t, protocol, promgrpc.Options{Authorization: promgrpc.PasswordFile("bob", file)}, address).GetStatus(t.Context())
			require.Equal(t, codes.Unauthenticated, status.Code(err))
		})
	}
}

// Both ends show certificates, by files that are read again.
func TestTLSFiles(t *testing.T) {
	certs, others := metricstest.NewCertificates(t), metricstest.NewCertificates(t)
	cert, key := certs.Issue("me", "spiffe://promgrpc/me")
	otherCert, otherKey := others.Issue("me", "spiffe://promgrpc/me")
	right := promgrpc.TLSFiles{CA: certs.CA, Cert: cert, Key: key, ServerName: "server.example"}
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := answers()
			server.TLS = certs.Mutual("server.example")
			server.Script = func(_ context.Context, call *metricstest.Call) error {
				if err := call.Send(response(1)); err != nil {
					return err
				}
				return call.Send(end())
			}
			address := server.Start(t)
			c := newClient(t, protocol, promgrpc.Options{RenewTLS: right.Config}, address)
			_, err := c.GetStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{1}, values(t, c, promgrpc.Selection{}))

			var u *promgrpc.UnreachableError
			for name, files := range map[string]promgrpc.TLSFiles{
				"no certificate":           {CA: certs.CA, ServerName: "server.example"},
				"one of another authority": {CA: certs.CA, Cert: otherCert, Key: otherKey, ServerName: "server.example"},
				"another name":             {CA: certs.CA, Cert: cert, Key: key},
				"another authority":        {CA: others.CA, Cert: cert, Key: key, ServerName: "server.example"},
				"the machine's":            {Cert: cert, Key: key, ServerName: "server.example"},
				"no file":                  {CA: "none"},
			} {
				_, err := newClient(t, protocol, promgrpc.Options{RenewTLS: files.Config}, address).GetStatus(t.Context())
				require.ErrorAs(t, err, &u, name)
			}
			_, err = newClient(t, protocol, promgrpc.Options{}, address).GetStatus(t.Context())
			require.Error(t, err, "cleartext")
		})
	}
}
