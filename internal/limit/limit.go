// Package limit has the errors of what is over a limit, and budgets that peers share.
//
// Guaranteed: the holds on a budget never exceed its total, and those of one peer never
// exceed its share. Waiting peers are served in turn, and the waiting calls of one peer
// in the order in which they came.
//
// Not guaranteed: any order for calls that do not wait. They try again, and may then be
// served before calls that wait.
package limit

import (
	"fmt"
	"strings"
)

// Error says what is over a limit, and names the limit's flag.
type Error struct {
	// Name of the flag, without the --limit.
	Name string
	// Passing says that the same may be admitted later, when others have released what
	// they hold. Otherwise it is refused every time.
	Passing bool
	flag    string
	format  string
	args    []any
}

// Error formats the text here, since most of many errors are never printed.
func (e *Error) Error() string { return fmt.Sprintf(e.format, e.args...) + " (" + e.flag + ")" }

// Plain returns the same error without amounts, which may be others'.
func (e *Error) Plain() *Error {
	return &Error{Name: e.Name, Passing: e.Passing, flag: e.flag, format: "it is reached"}
}

// Over returns the error of what is over the limit of a flag, and will be the next time,
// too. Its text ends with the flag, and is formatted when somebody asks for it.
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
