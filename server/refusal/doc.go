// Package refusal is the errors of calls that are refused, and of streams that end
// early.
//
// Guaranteed: a refusal because of a limit names the flag, is counted by its name, and
// says when to retry if that can help. What an error quotes of a request fits into the
// headers of any balancer.
package refusal
