// Package limit says what is over a limit, and shares out what there is only so
// much of.
//
// Guaranteed: the holds on a budget are never more than its total together, and
// those of one peer never more than its share. Of those who wait, the peers are
// served in turn, and those of one peer in the order in which they came.
//
// Not guaranteed: that who is refused would be served in its turn. Who cannot
// wait, comes again, and may be ahead of those who do wait.
package limit

import (
	"fmt"
	"strings"
)

// Error is what is over a limit, in words that name the limit's flag.
type Error struct {
	// Name of the flag, without the --limit.
	Name string
	// Passing says that the same may be let in later, when others have given
	// back what they hold. Otherwise it is refused every time.
	Passing bool
	flag    string
	format  string
	args    []any
}

// Error puts it into words, which most of many are never asked for.
func (e *Error) Error() string { return fmt.Sprintf(e.format, e.args...) + " (" + e.flag + ")" }

// Over returns the error of what is over the limit of a flag and will be the
// next time, too. Its text ends with the flag, and is made of the arguments as they
// are when it is asked for.
func Over(flag, format string, args ...any) error { return newError(flag, false, format, args) }

// Busy returns the error of what is over the limit of a flag because of others.
// Its text ends with the flag.
func Busy(flag, format string, args ...any) error { return newError(flag, true, format, args) }

func newError(flag string, passing bool, format string, args []any) error {
	return &Error{
		Name:    Name(flag),
		Passing: passing,
		flag:    flag,
		format:  format,
		args:    args,
	}
}

// Name returns the name of a limit, by which it is counted, from that of its flag.
func Name(flag string) string { return strings.TrimPrefix(flag, "--limit.") }
