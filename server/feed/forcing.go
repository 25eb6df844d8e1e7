package feed

// forcing acknowledges what is on the disk, to a forwarder that has answers waiting for
// it. One sync runs at a time, and the next covers all that came meanwhile.
type forcing struct {
	due     chan struct{}
	stop    chan struct{}
	stopped chan struct{}
	err     error // of the last, once stopped
}

// newForcing returns one that calls force when something is due. If that fails it calls
// failed, and does nothing any more.
func newForcing(force func() error, failed func()) *forcing {
	f := &forcing{due: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(f.stopped)
		for {
			select {
			case <-f.due:
			case <-f.stop:
				return
			}
			if f.err = force(); f.err != nil {
				failed()
				return
			}
		}
	}()
	return f
}

// schedule makes what was appended so far due.
func (f *forcing) schedule() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// end waits for the sync that is under way, and says why forcing has failed.
func (f *forcing) end() error {
	close(f.stop)
	<-f.stopped
	return f.err
}
