package archived

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrOccupied says that there is something in the folder that was not restored into it.
var ErrOccupied = errors.New("there is something in the folder")

// markName is of a file that is in the folder until all is restored. It has the choice,
// so that a restore that was broken off goes on as it was begun.
const markName = "restoring"

// begin marks the folder, or says why it cannot be used. It returns the choice that the
// restore was begun with.
func begin(folder string, choice Choice) (Choice, error) {
	path := filepath.Join(folder, markName)
	mark, err := os.ReadFile(path)
	if err == nil {
		return choice.goOn(folder, mark)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return choice, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return choice, err
	}
	if len(entries) > 0 {
		return choice, fmt.Errorf("%w: %s has %s; name one that is empty, or not there", ErrOccupied, folder, entries[0].Name())
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return choice, err
	}
	if mark, err = json.Marshal(choice); err != nil {
		return choice, err
	}
	return choice, os.WriteFile(path, mark, 0o600)
}

// goOn returns the choice in a mark, if it is the same.
func (c Choice) goOn(folder string, mark []byte) (before Choice, err error) {
	if err := json.Unmarshal(mark, &before); err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Join(folder, markName), err)
	}
	if before.Bucket != c.Bucket || !slices.Equal(before.Logs, c.Logs) || before.Given != c.Given {
		return c, fmt.Errorf("%w: a restore to %s was begun otherwise: %s; go on with the same, or remove the folder", ErrOccupied, folder, mark)
	}
	return before, nil
}

// room says whether there is room for what is not there yet.
func room(folder string, logs []Log) error {
	var need int64
	for i := range logs {
		need += logs[i].Size()
	}
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read takes no room that is known
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			need -= info.Size()
		}
		return nil
	})
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return fmt.Errorf("room at %s: %w", folder, err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); need > free { //nolint:unconvert // their types differ by system
		return fmt.Errorf("%d bytes are to be restored, and %s has room for %d", need, folder, free)
	}
	return nil
}
