package private

import (
	"errors"
	"os"
	"path/filepath"
)

// Write writes a file under another name, which put, [os.Rename] or [os.Link], has it
// give up once it is whole: whoever reads the file has it as it was before or as it is
// now. No link is followed. The mode is for files that others may read.
func Write(name string, data []byte, mode os.FileMode, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // It is gone, or has another name as well, unless something went wrong.
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return put(f.Name(), name)
}
