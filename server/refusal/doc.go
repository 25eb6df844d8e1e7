// Package refusal is what a caller is told whose call is refused, or whose stream
// ends though it did not ask for that.
//
// Guaranteed: a refusal because of a limit names its flag, is counted by it, and
// says when to come again if that can help. What of the caller's own words an error
// quotes fits into the headers of any balancer.
package refusal
