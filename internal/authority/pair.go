package authority

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
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

// Write writes the pair to two files of a folder, which is made if need be. Whoever
// reads either has it whole, as it was before or as it is now. Nobody else can read the
// key.
func (p *Pair) Write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	cert, key := Files(dir, name)
	if err := Replace(key, p.Key, 0o600); err != nil {
		return err
	}
	return Replace(cert, p.Cert, 0o644)
}

// Replace puts a file in place of what is there, whole, and follows no link.
func Replace(file string, data []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-")
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("authority: write %s: %w", file, err)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
