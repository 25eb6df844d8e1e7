package refusal

import "strings"

// AwayError is of what needs groups of a router that do not answer.
type AwayError struct {
	Groups []string
	// Time is set where it is their time that is waited for: their servers may answer.
	Time bool
	// Cause is what the last server said, or what is wrong with it. Callers are not told.
	Cause error
}

func (e *AwayError) Error() string {
	names := strings.Join(e.Groups, ", ")
	if e.Time {
		return "time stands still in group " + names + ": no server answers, or nothing comes of its logs"
	}
	return "no server answers of group " + names
}
