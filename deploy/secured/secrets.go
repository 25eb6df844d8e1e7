package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/private"
)

// secrets are kept in a folder, one a file, and made when they are first asked for.
type secrets string

func openSecrets(dir string) (secrets, error) {
	s := secrets(filepath.Join(dir, "secrets"))
	return s, private.MkdirAll(string(s))
}

// get returns a secret: 128 random bits, in the form that Consul wants of its tokens.
func (s secrets) get(name string) (string, error) {
	path := filepath.Join(string(s), name)
	text, err := os.ReadFile(path)
	if err == nil {
		if text = bytes.TrimSpace(text); len(text) == 0 {
			return "", fmt.Errorf("%s is empty, and nothing would let anybody in: remove it, and the files that are made from it", path)
		}
		return string(text), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // It never fails.
	secret := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return secret, write(path, []byte(secret)) // Without a newline, for those who would take it as a part of it.
}

// sha256 returns what an access file has of a token.
func (s secrets) sha256(name string) (string, error) {
	secret, err := s.get(name)
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:]), err
}

// bcrypt returns what a web configuration file has of a password. The lowest cost is
// enough for one that cannot be guessed.
func (s secrets) bcrypt(name string) (string, error) {
	secret, err := s.get(name)
	if err != nil {
		return "", err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(secret), bcrypt.MinCost)
	return string(hash), err
}

// write puts a file into the place of the one that was there, in one step.
func write(path string, content []byte) error {
	return private.Write(path, content, 0o600, os.Rename)
}
