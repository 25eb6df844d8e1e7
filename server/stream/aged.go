package stream

import "github.com/promgrpc/exporter/server/refusal"

// endAged ends the stream if it has to move, with a cursor that covers all that it
// should have by now. What min_interval holds back is sent first, since another server
// would read all of it again.
func (st *stream) endAged() error {
	if !st.age.Reached() || st.conflate.holding() {
		return nil
	}
	if !st.out.empty() {
		if err := st.send(noEvent); err != nil {
			return err
		}
	}
	return refusal.ErrAged
}
