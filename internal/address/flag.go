package address

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// flag is a value on the command line that is checked as it is read.
type flag struct {
	name  string
	check func(string) (string, error)
	to    *[]string // for a flag that may be repeated
	one   *string   // for any other
}

// Set implements [kingpin.Value].
func (f *flag) Set(s string) error {
	if f.one == nil {
		return f.add(strings.Split(s, ","))
	}
	checked, err := f.check(s)
	if err != nil {
		return fmt.Errorf("--%s: %w", f.name, err)
	}
	*f.one = checked
	return nil
}

func (f *flag) add(all []string) error {
	for _, s := range all {
		checked, err := f.check(s)
		if err != nil {
			return fmt.Errorf("--%s: %w", f.name, err)
		}
		*f.to = append(*f.to, checked)
	}
	return nil
}

// String implements [kingpin.Value].
func (f *flag) String() string {
	if f.one != nil {
		return *f.one
	}
	return strings.Join(*f.to, ",")
}

// IsCumulative is what kingpin asks a flag that may be repeated.
func (f *flag) IsCumulative() bool { return f.to != nil }

// ListenVar makes a flag an address to listen on.
func ListenVar(f *kingpin.FlagClause, to *string) {
	f.SetValue(&flag{name: f.Model().Name, one: to, check: listen})
}

// ListensVar makes a flag such addresses, separated by commas where one has several.
func ListensVar(f *kingpin.FlagClause, to *[]string) {
	f.SetValue(&flag{name: f.Model().Name, to: to, check: listen})
}

func listen(s string) (string, error) { return s, Listen(s) }

// HostVar makes a flag a host.
func HostVar(f *kingpin.FlagClause, to *string) {
	f.SetValue(&flag{name: f.Model().Name, one: to, check: Host})
}
