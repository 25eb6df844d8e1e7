package authority

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/promgrpc/exporter/internal/private"
)

// Pair is a certificate with its key, in PEM.
type Pair struct {
	Cert, Key []byte
}

func newPair(cert, key []byte) *Pair {
	return &Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

// TLS returns the pair as Go's TLS takes it.
func (p *Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Cert, p.Key) }

// Files returns the names that Write gives the files of a pair.
func Files(dir, name string) (cert, key string) {
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
}

// Write writes the pair to two files of a folder, which is made if need be, in place of
// what is there. Whoever reads either has it whole, as it was before or as it is now.
// Nobody else can read the key.
func (p *Pair) Write(dir, name string) error { return p.write(dir, name, os.Rename) }

// Create does what Write does, and fails where there is a file already.
func (p *Pair) Create(dir, name string) error { return p.write(dir, name, os.Link) }

// write has a file take its name by put once it is whole.
func (p *Pair) write(dir, name string, put func(from, to string) error) error {
	if err := private.MkdirAll(dir); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	cert, key := Files(dir, name)
	if err := write(key, p.Key, 0o600, put); err != nil {
		return err
	}
	return write(cert, p.Cert, 0o644, put)
}

func write(file string, data []byte, mode os.FileMode, put func(from, to string) error) error {
	if err := private.Write(file, data, mode, put); err != nil {
		return fmt.Errorf("authority: write %s: %w", file, err)
	}
	return nil
}

// WriteBundle writes the pair to one file, as HAProxy takes it, and as Write does.
func (p *Pair) WriteBundle(dir, name string) error {
	return write(filepath.Join(dir, name+"-bundle.pem"), slices.Concat(p.Cert, p.Key), 0o600, os.Rename)
}
