// Package webconfig is what a web configuration file of exporter-toolkit says, for any
// listener: its TLS, who may call by name and password, headers of the answers, and a
// rate limit.
//
// Guaranteed: a file means what it means to Prometheus' own programs, and one that would
// let in more than it seems to is refused. It holds anew for each connection and request
// as soon as it or a file that it names has changed, without a restart; while they cannot
// be read, or ask for nothing any more where they asked for passwords or certificates,
// what was read last. Nothing tells a user that does not exist from one with
// another password. Passwords are kept nowhere.
//
// Not guaranteed: that open connections end when what let them in does.
package webconfig

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/register"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/internal/usage"
)

// quietly is how often a log line that callers can cause is repeated.
const quietly = 10 * time.Second

// Config is a file, as it is at each time. All methods may be called of nil, which is no
// file: cleartext, and everybody may call. It is safe for concurrent use.
type Config struct {
	flag     string
	settings *renew.Value[*settings]
	log      *throttle.Logger
	failed   prometheus.Counter // handshakes
	password *passwords
	tokens   func(*http.Request) bool // whether somebody else proves the bearer token; nil: nobody
}

// Open reads the file of a flag of an HTTP listener. Its errors are of package usage.
func Open(flag, path string, logger *slog.Logger) (*Config, error) {
	return open(flag, path, logger, nil)
}

// OpenTLS reads the file of a flag of a listener that is not HTTP. The file can have TLS
// only.
func OpenTLS(flag, path string, logger *slog.Logger) (*Config, error) {
	return open(flag, path, logger, (*settings).onlyTLS)
}

func open(flag, path string, logger *slog.Logger, check func(*settings) error) (*Config, error) {
	if path == "" {
		return nil, nil
	}
	var last *settings
	read := func(uses func(string)) (*settings, error) {
		s, err := readFile(path, uses)
		if err == nil && check != nil {
			err = check(s)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s %s: %w", flag, path, err)
		case last != nil:
			if err := s.follows(last); err != nil {
				return nil, fmt.Errorf("%s %s: %w", flag, path, err)
			}
		}
		last = s
		return s, nil
	}
	value, err := renew.NewParsed(flag+" "+path, read, logger)
	if err != nil {
		return nil, &usage.Error{Err: err}
	}
	return &Config{
		flag: flag, settings: value, log: throttle.New(logger, quietly),
		failed: newFailed(nil).WithLabelValues(""), password: newPasswords(),
	}, nil
}

// Again is for SIGHUP, nil if there is no file.
func (c *Config) Again() func() error {
	if c == nil {
		return nil
	}
	return c.settings.Reload
}

// Register shows how many handshakes fail, by the listener of the flag.
func (c *Config) Register(reg prometheus.Registerer) {
	if c != nil {
		listener, _, _ := strings.Cut(strings.TrimPrefix(c.flag, "--"), ".")
		c.failed = newFailed(reg).WithLabelValues(listener)
	}
}

func newFailed(reg prometheus.Registerer) *prometheus.CounterVec {
	return register.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promgrpc_tls_handshake_failures_total",
		Help: "TLS handshakes of callers that came to nothing, by the listener.",
	}, []string{"listener"}))
}

// SecuresTLS says whether connections are encrypted.
func (c *Config) SecuresTLS() bool { return c.now().tls != nil }

// RequiresCertificates says whether callers need a certificate.
func (c *Config) RequiresCertificates() bool { return c.now().requiresCertificates() }

// RequiresPasswords says whether callers need a password.
func (c *Config) RequiresPasswords() bool { return len(c.now().users.names) > 0 }

// TLS returns the configuration for the next connection, nil for cleartext.
func (c *Config) TLS() *tls.Config { return c.now().tls }

var noSettings = &settings{}

// now returns what holds now.
func (c *Config) now() *settings {
	if c == nil {
		return noSettings
	}
	return c.settings.Get()
}

// Listener returns a listener for HTTP, with TLS if the file has that.
func (c *Config) Listener(l net.Listener) net.Listener {
	if !c.SecuresTLS() {
		return l
	}
	return &listener{Listener: l, config: c}
}

// follows takes over what lasts from the settings before, and returns an error if they do
// not allow these. A file that was cut off must not let everybody in.
func (s *settings) follows(before *settings) error {
	switch {
	case (before.tls == nil) != (s.tls == nil):
		return errors.New("whether there is TLS is decided at the start, a restart is needed")
	case len(before.users.names) > 0 && len(s.users.names) == 0:
		return errors.New("it has no basic_auth_users any more, which would let everybody in: that takes a restart")
	case before.requiresCertificates() && !s.requiresCertificates():
		return errors.New("it requires no client certificates any more: that takes a restart")
	case before.tls != nil && before.tls.VerifyConnection != nil && s.tls.VerifyConnection == nil:
		return errors.New("it has no client_allowed_sans any more, which would let every certificate in: that takes a restart")
	}
	if before.rate == s.rate {
		s.limiter = before.limiter
	}
	return nil
}

func (s *settings) onlyTLS() error {
	switch {
	case s.tls == nil:
		return errors.New("it has no tls_server_config")
	case len(s.users.names) > 0, len(s.headers) > 0, s.limiter != nil:
		return errors.New("basic_auth_users, http_server_config and rate_limit are for HTTP: only tls_server_config holds here")
	}
	s.tls.NextProtos = nil
	return nil
}
