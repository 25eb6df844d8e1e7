// Package query is the call Query: an expression, evaluated at each step as it becomes
// due.
//
// Guaranteed: a step's result depends on the logs and the request alone, so a stream goes
// on at any replica, with each step once, by a cursor that is a hash of what is evaluated
// and the last step. Those who follow the same share each evaluation, and its bytes. Who
// evaluates for others is charged for it; if its limits do not let it, another one does.
//
// Not guaranteed: that steps of which samples are no longer retained are complete.
package query
