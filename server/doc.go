// Package server is the part that keeps a copy of forwarders' logs and serves
// it. Its rooms are feed (how blocks come in), replica (a log's copy and what can
// be asked of it), selection (what a caller asks for), stream (a call's way through
// the logs) and refusal (what a caller is told that is refused). What is here is the
// configuration, start and end, the calls over gRPC, gRPC-Web and Connect, and the
// limits.
//
// What is guaranteed of streams is said by package stream. A call that is refused is
// told which limit it is over; a server that cannot serve says so to those who
// watch its health, and lets streams go on elsewhere with their cursors.
package server
