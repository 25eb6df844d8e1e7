// Package server keeps copies of forwarders' logs and serves them. This folder has the
// configuration, start and end, the calls over gRPC, gRPC-Web and Connect, and the
// limits. Its rooms are feed (how blocks come in), replica (a log's copy and what can be
// asked of it), selection (the selectors of a call), stream (a call's way through the
// logs) and refusal (the errors of calls that are refused).
//
// Guaranteed: a call that is refused says because of which limit, and a server that
// does not serve says so to those who watch its health. What streams guarantee is said
// by package stream.
package server
