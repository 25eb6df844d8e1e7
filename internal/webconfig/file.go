package webconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// settings are what a file said at a time. They do not change.
type settings struct {
	tls     *tls.Config // nil: cleartext
	users   users
	headers map[string]string // of each answer
	rate    web.RateLimiterConfig
	limiter *rate.Limiter // nil: none
}

// readFile reads a file as exporter-toolkit does, and what it names.
func readFile(path string, uses func(file string)) (*settings, error) {
	uses(path)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parse(text)
	if err != nil {
		return nil, err
	}
	c.TLSConfig.SetDirectory(filepath.Dir(path))
	for _, file := range []string{c.TLSConfig.TLSCertPath, c.TLSConfig.TLSKeyPath, c.TLSConfig.ClientCAs} {
		if file != "" {
			uses(file)
		}
	}
	// This checks the headers, of which the toolkit alone knows which there may be.
	if err := web.Validate(path); err != nil {
		return nil, err
	}
	s := &settings{users: newUsers(c.Users), headers: c.HTTPConfig.Header, rate: c.RateLimiterConfig}
	if s.rate.Interval != 0 {
		s.limiter = rate.NewLimiter(rate.Every(s.rate.Interval), s.rate.Burst)
	}
	if c.TLSConfig.IsEnabled() {
		s.tls, err = tlsConfig(c)
	}
	return s, err
}

// parse returns what is in a file, with exporter-toolkit's defaults.
func parse(text []byte) (*web.Config, error) {
	c := &web.Config{
		TLSConfig:  web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: web.HTTPConfig{HTTP2: true},
	}
	if err := yaml.UnmarshalStrict(text, c); err != nil {
		return nil, err
	}
	for name, hash := range c.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return nil, fmt.Errorf("the password of user %q: %w", name, err)
		}
	}
	if c.RateLimiterConfig.Interval < 0 || c.RateLimiterConfig.Interval > 0 && c.RateLimiterConfig.Burst < 1 {
		return nil, errors.New("rate_limit needs an interval and a burst above zero")
	}
	return c, checkClients(&c.TLSConfig)
}

// checkClients refuses what asks for certificates without saying of which authority:
// those that any public one has issued would do.
func checkClients(c *web.TLSConfig) error {
	verifies := c.ClientAuth == "VerifyClientCertIfGiven" || c.ClientAuth == "RequireAndVerifyClientCert"
	switch {
	case verifies && c.ClientCAs == "" && c.ClientCAsText == "":
		return fmt.Errorf("client_auth_type %s needs a client_ca_file", c.ClientAuth)
	case !verifies && len(c.ClientAllowedSans) > 0:
		return errors.New("client_allowed_sans needs the client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven")
	}
	return nil
}

// tlsConfig reads certificates now: a handshake needs none of the files.
func tlsConfig(c *web.Config) (*tls.Config, error) {
	config, err := web.ConfigToTLSConfig(&c.TLSConfig)
	if err != nil {
		return nil, err
	}
	pair, err := config.GetCertificate(nil)
	if err != nil {
		return nil, err
	}
	config.Certificates, config.GetCertificate = []tls.Certificate{*pair}, nil
	if config.ClientCAs != nil && config.ClientCAs.Equal(x509.NewCertPool()) {
		return nil, errors.New("there is no certificate in the client CA")
	}
	if sans := c.TLSConfig; len(sans.ClientAllowedSans) > 0 {
		// Unlike VerifyPeerCertificate this is called when a session is resumed, too.
		config.VerifyPeerCertificate = nil
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return nil // Whether it needs one is the client_auth_type's.
			}
			return sans.VerifyPeerCertificate([][]byte{state.PeerCertificates[0].Raw}, nil)
		}
	}
	config.NextProtos = []string{"http/1.1"}
	if c.HTTPConfig.HTTP2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config, nil
}

func (s *settings) requiresCertificates() bool {
	return s.tls != nil && s.tls.ClientAuth == tls.RequireAndVerifyClientCert
}
