package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// listed is a package as go list describes it.
type listed struct {
	Dir        string
	Standard   bool
	EmbedFiles []string
	Module     *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// list returns all packages that are linked into what the patterns stand for.
func list(architecture string, patterns []string) ([]listed, error) {
	command := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,Standard,EmbedFiles,Module"}, patterns...)...)
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+architecture, "CGO_ENABLED=0")
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(printed)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("what go list printed: %w", err)
		}
		packages = append(packages, p)
	}
}

// addGo adds the licence of the standard library.
func addGo(linked map[string]*component) error {
	printed, err := exec.Command("go", "env", "GOVERSION", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	version, root, _ := strings.Cut(strings.TrimSpace(string(printed)), "\n")
	c := &component{name: "Go's standard library " + version}
	if err := c.addFolder(root); err != nil {
		return err
	}
	linked[c.name] = c
	return nil
}
