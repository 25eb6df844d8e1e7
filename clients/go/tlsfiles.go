package promgrpc

import (
	"crypto/tls"

	"github.com/promgrpc/exporter/internal/renew"
)

// TLSFiles name PEM files. Their function Config is for [Options.RenewTLS], with which
// they may be renewed in place. The zero value trusts the authorities of the machine,
// and has no certificate of its own.
type TLSFiles struct {
	// CA has the authorities that the server's certificate has to come from.
	CA string
	// Cert and Key of the client.
	Cert, Key string
	// ServerName that the server's certificate has to be for, in place of the host of
	// the address.
	ServerName string
}

// Config reads the files. It asks for TLS 1.3 or later.
func (f TLSFiles) Config() (*tls.Config, error) {
	return renew.TLSFiles{CA: f.CA, Cert: f.Cert, Key: f.Key, ServerName: f.ServerName}.Dial()
}
