package stream

import (
	"context"

	"github.com/promgrpc/exporter/server/call"
)

// bytes is about what the stream has in memory that grows with what it reads and with
// how slow its client is.
func (st *stream) bytes() int64 {
	n := st.selection.Bytes() + st.newest.Bytes() + st.out.bytes()
	if st.rebuilding != nil {
		n += st.rebuilding.bytes()
	}
	if st.watch != nil {
		n += st.watch.Bytes()
	}
	for _, src := range st.sources {
		n += src.bytes()
	}
	return n
}

// account counts the bytes of the stream. An error ends it, as others need them.
func (st *stream) account() error { return st.hold.Resize(max(0, st.bytes()-call.IncludedBytes)) }

// check is account, and checks that the client is still there.
func (st *stream) check() error {
	if st.ctx.Err() != nil {
		return context.Cause(st.ctx)
	}
	return st.account()
}
