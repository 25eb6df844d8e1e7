// Package invariant checks what has to hold whatever the input is, in tests: a
// program that is built with the tag invariants stops where the state is wrong,
// rather than where that shows.
//
// Guaranteed: a build without the tag pays nothing, as long as each call is within
// an if of [On], arguments and all. Not guaranteed: that such a build notices
// anything. What comes from outside is checked by the code itself, with an error.
package invariant

import "fmt"

// Check panics unless cond holds, with what is wrong and with which values.
//
//	if invariant.On {
//		invariant.Check(next == last+1, "block %d after block %d", next, last)
//	}
func Check(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant: " + fmt.Sprintf(format, args...))
	}
}
