// Command licenses prints the licences of all that is linked into the programs for
// Linux: of Go itself, of each module, and of what the page is built from. It fails
// if the text of one is missing. It guarantees that there is a text, not that the
// text permits what is done with it.
package main

import (
	"fmt"
	"os"
)

// architectures are those that releases are built for.
var architectures = []string{"amd64", "arm64"}

// standardTexts has the texts of licences that a package names without including them.
const standardTexts = "third_party/licenses"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

// run prints the licences of the packages that the patterns stand for.
func run(patterns []string) error {
	if len(patterns) == 0 {
		return fmt.Errorf("usage: licenses PACKAGE…")
	}
	linked := map[string]*component{}
	for _, architecture := range architectures {
		packages, err := list(architecture, patterns)
		if err != nil {
			return err
		}
		for _, p := range packages {
			if err := add(linked, p); err != nil {
				return err
			}
		}
	}
	if err := addGo(linked); err != nil {
		return err
	}
	if err := addNamed(linked, os.DirFS(standardTexts)); err != nil {
		return err
	}
	return write(os.Stdout, linked)
}
