package groupsfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/placement"
)

// text is a groups file with an instant at which c is added.
func text(version int, from time.Time, servers string) string {
	return fmt.Sprintf("version: %d\nspread: {labels: [job]}\ngroups:\n  a: {servers: %q}\n  b: {servers: b}\n  c: {servers: c}\n"+
		"epochs:\n- groups: [a, b]\n- from: %s\n  groups: [a, b, c]\n", version, servers, from.UTC().Format(time.RFC3339))
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "groups.yml")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	soon, later := time.Now().Add(10*time.Minute), time.Now().Add(20*time.Hour)
	var log syncBuffer
	write(text(2, later, "one"))
	f, err := Open(path, Options{
		Ahead: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Check: func(f *placement.File) error {
			if a, _ := f.Group("a"); a.Servers == "none" {
				return errors.New("line 4: none is not allowed here")
			}
			return nil
		},
	})
	require.NoError(t, err)
	require.NoError(t, f.Err())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-done) }()

	for _, step := range []struct {
		name, text, err string
		known           uint64
	}{
		{"another address", text(2, later, "two"), "", 0},
		{"damaged", "groups: [\n", "did not find expected node content", 0},
		{"what the program refuses", text(3, later, "none"), "line 4: none is not allowed here", 0},
		{"the same version, and another instant", text(2, later.Add(time.Hour), "two"), "another groups file of the same version", 0},
		{"an older version", text(1, later, "two"), "an older version", 0},
		{"too soon", text(4, soon, "two"), "changes what counts already: version 4 and 2 differ", 0},
		{"no spread", "groups: {a: {servers: x}}", "it has no spread any more", 0},
		{"a newer version", text(5, later.Add(time.Hour), "five"), "", 0},
		{"too soon, but others have it", text(6, soon, "six"), "", 6},
		{"a newer one of the time after", text(7, soon, "seven"), "", 0},
	} {
		changed, before := f.Changed(), f.Now()
		f.Known(nil, step.known)
		write(step.text)
		if step.err == "" {
			select {
			case <-changed:
			case <-time.After(30 * time.Second):
				require.Fail(t, "it is not read again", step.name)
			}
			require.NoError(t, f.Err(), step.name)
			require.NotSame(t, before, f.Now())
			require.NoError(t, f.Again())
			continue
		}
		require.Eventually(t, func() bool { return f.Err() != nil && strings.Contains(f.Err().Error(), step.err) }, 30*time.Second, time.Millisecond, step.name)
		require.ErrorContains(t, f.Err(), "--groups.file "+path, step.name)
		require.Same(t, before, f.Now(), step.name)
		require.ErrorContains(t, f.Again(), step.err, step.name)
	}
	require.Contains(t, log.String(), "the last value stays in use")
	require.Contains(t, log.String(), `msg="the groups file has changed" version=5`)
}

// TestFileThatOthersRefuse checks that what is in use and is refused by others, who have another
// file of its version, can be put right, and nothing else of that version.
func TestFileThatOthersRefuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "groups.yml")
	later := time.Now().Add(20 * time.Hour)
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(text(2, later, "wrong"))
	f, err := Open(path, Options{Ahead: time.Hour})
	require.NoError(t, err)
	wrong := f.Now().Placement
	write(text(2, later.Add(time.Hour), "right"))
	require.ErrorContains(t, f.Again(), "another groups file of the same version")

	f.Known([]byte("said before it was in use"), 2)
	require.Error(t, f.Again())
	f.Known(wrong.Bytes(), 0)
	require.Error(t, f.Again(), "of another group")
	f.Known(wrong.Bytes(), 2)
	require.Eventually(t, func() bool { return f.Again() == nil }, 30*time.Second, 10*time.Millisecond)
	require.NotEqual(t, wrong.Bytes(), f.Now().Placement.Bytes())

	write(text(2, later.Add(2*time.Hour), "another"))
	require.ErrorContains(t, f.Again(), "another groups file of the same version")
}

// A file that is written anew with the same text wakes nobody.
func TestFileThatSaysTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "groups.yml")
	write := func() {
		require.NoError(t, os.WriteFile(path+".new", []byte(text(2, time.Unix(1e9, 0), "one")), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write()
	f, err := Open(path, Options{})
	require.NoError(t, err)
	before, changed := f.Now(), f.Changed()
	write()
	require.NoError(t, f.Again())
	require.Same(t, before, f.Now())
	select {
	case <-changed:
		t.Fatal("it has changed")
	default:
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "groups.yml")
	_, err := Open(path, Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("#\n"), mostBytes), 0o600))
	_, err = Open(path, Options{})
	require.ErrorContains(t, err, "it has more than 1048576 bytes")
}
