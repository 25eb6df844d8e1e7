// Package pushed has the groups of a router evaluate the parts of expressions that they can
// evaluate for themselves, by the call Query.
//
// Guaranteed: a step is complete, and the answers of all groups are there, before it is
// handed out; a group whose server goes is asked at another one from the step on that was
// not complete, and one that is away holds the step back. Steps are asked for once for all
// who share a follower, and as they become due.
//
// Not guaranteed: that what groups say besides is of one step where several are evaluated
// at once. Their annotations are then those of each of these steps, and what was late is of
// the last.
package pushed
