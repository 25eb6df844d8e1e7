// Command defaults reads what a program's --help prints, and prints the file of
// settings that systemd starts the program with: the environment variable of each
// flag, commented out, with its default or with what is to be put there.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM --help | defaults PROGRAM")
		os.Exit(2)
	}
	help, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = write(os.Stdout, os.Args[1], string(help))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "defaults:", err)
		os.Exit(1)
	}
}

var (
	// flagLine is the first line of a flag: its name, its value, with dots after a space
	// where it may be repeated, and maybe its help.
	flagLine = regexp.MustCompile(`^  (?:-\w, |    )--(?:\[no-\])?([a-z][\w.-]*)(?:=("[^"]*"|\S+)(?: \.{3})?)?(?:\s\s+(.*))?$`)
	variable = regexp.MustCompile(`^(.*\S)\s+\(\$([A-Z0-9_]+)\)$`)
)

// write writes a setting for each flag that has a variable.
func write(w io.Writer, program, help string) error {
	_, help, ok := strings.Cut(help, "\nFlags:\n")
	if !ok {
		return fmt.Errorf("what %s --help printed has no flags", program)
	}
	help, _, _ = strings.Cut(help, "\n\n") // commands follow
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# Settings of %[1]s, one for each of its flags. A line that is commented out has\n"+
		"# the default, or in capitals what to put there. Dots after a default mean that there\n"+
		"# are more. Several values go in quotes, one a line. Changes take effect with\n"+
		"#   systemctl restart %[1]s\n", program)
	count := 0
	for _, f := range flags(help) {
		found := variable.FindStringSubmatch(f.help)
		if found == nil {
			continue
		}
		if f.name == "storage.path" {
			f.value = "/var/lib/" + program // the unit's
		}
		fmt.Fprintf(out, "\n# %s\n#%s=%s\n", found[1], found[2], f.value)
		count++
	}
	if count == 0 {
		return fmt.Errorf("no flag of %s has a variable", program)
	}
	return out.Flush()
}

// described is a flag as help describes it.
type described struct{ name, value, help string }

func flags(help string) (all []described) {
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		if found := flagLine.FindStringSubmatch(line); found != nil {
			all = append(all, described{found[1], found[2], found[3]})
		} else if len(all) > 0 {
			f := &all[len(all)-1]
			f.help = strings.TrimSpace(f.help + " " + strings.TrimSpace(line))
		}
	}
	return all
}
