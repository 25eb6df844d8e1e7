// Package rpc is the calls: what the RPC port serves over gRPC, gRPC-Web and Connect,
// from a connection and a request to its answer, which a stream gives for the calls that
// last.
//
// Guaranteed: a request is checked by the rules of the API, and has room, before it is
// worked on; a peer holds no more than its share of connections, requests and answers.
// An answer fits into what clients of gRPC accept, and says when it is cut off.
package rpc
