package refusal

import "strings"

// AwayError is of what needs groups of a router that do not answer.
type AwayError struct {
	Groups []string
	// Cause is what the last server said, or what is wrong with it. Callers are not told.
	Cause error
}

func (e *AwayError) Error() string {
	return "no server answers of group " + strings.Join(e.Groups, ", ")
}
