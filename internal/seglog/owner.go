package seglog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/promgrpc/exporter/internal/segment"
)

// Beside the segments of a mirror, a file names whose log it is: a quoted name a line, as
// the certificate of its writer had them. It is a text so that a person can change it.

const (
	ownerName = "owner"
	// maxOwner bounds what is read of the file.
	maxOwner = 1 << 20
)

// Owner returns the names of a log's owner, none if it has no owner. It reads the file
// each time.
func (s *Store) Owner(id segment.LogID) ([]string, error) {
	f, err := s.fs.Open(filepath.Join(s.dir(id), ownerName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("owner of log %s: %w", id, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxOwner))
	if err != nil {
		return nil, fmt.Errorf("owner of log %s: %w", id, err)
	}
	names, err := parseOwner(string(b))
	if err != nil {
		return nil, fmt.Errorf("owner of log %s: %w", id, err)
	}
	return names, nil
}

// SetOwner makes a log belong to names, of which there has to be one. A log that has no
// folder yet cannot have an owner.
func (s *Store) SetOwner(id segment.LogID, names []string) error {
	dir := s.dir(id)
	path := filepath.Join(dir, ownerName)
	err := s.replaceFile(path, formatOwner(names))
	if err == nil {
		err = s.fs.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("owner of log %s: %w", id, err)
	}
	return nil
}

// replaceFile writes a file under another name, forces it to the disk, and renames it.
func (s *Store) replaceFile(path string, content []byte) error {
	f, err := s.fs.Create(path + tempExt)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return s.fs.Rename(path+tempExt, path)
}

func formatOwner(names []string) []byte {
	var b []byte
	for _, name := range names {
		b = append(strconv.AppendQuote(b, name), '\n')
	}
	return b
}

// errNoOwner is for a file that names nobody: then nobody may write the log.
var errNoOwner = errors.New("the file owner names nobody")

func parseOwner(text string) ([]string, error) {
	var names []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, err := strconv.Unquote(line)
		if err != nil {
			return nil, fmt.Errorf("line %.100q of the file owner is no quoted name", line)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, errNoOwner
	}
	return names, nil
}
