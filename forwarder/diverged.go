package forwarder

import (
	"errors"
	"time"

	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
)

// A server that has other blocks than the log, or is ahead of it, shows that the log is a
// copy that was restored, and must not be continued. But anybody can say so, and a restored
// copy takes a start of this process: so one is believed, and from then on so seldom that
// the logs of which servers hold 48 are not used up by the time that they are deleted. A
// server that proved its role is believed sooner, and each time after twice as long: it may
// have been taken over.

const (
	// renewEvery is how long nobody is believed after the first time.
	renewEvery = time.Minute
	// doubtFor is how long, since the last time, servers that proved nothing are not
	// believed, and others at most.
	doubtFor = 24 * time.Hour
)

// divergence is that of a server, by what it says of its copy of a log.
type divergence struct {
	*logship.DivergedError
	// proved says that the server has the role of one.
	proved bool
}

func (d *divergence) Unwrap() error { return d.DivergedError }

// refuse tells the server if it has diverged.
func (s *shipper) refuse(c *link.Conn, err error) error {
	var diverged *logship.DivergedError
	if !errors.As(err, &diverged) {
		return err
	}
	_ = c.CloseWith(err.Error())
	trust := s.options.Trust
	proved := trust.ByRole() && trust.Roles.CheckRole(trust.Peer, c.Identity().Names) == nil
	return &divergence{diverged, proved}
}

// report notes a divergence, unless there is one already.
func (a *appender) report(d *divergence) {
	select {
	case a.diverged <- d:
	default:
	}
}

// renew starts a new log when a server has diverged from the present one: neither copy
// is rewritten. Until there is one, that server gets nothing.
func (a *appender) renew(d *divergence) {
	s := a.state
	if s == nil || s.writer.Log().ID() != d.Log {
		return
	}
	wait := doubtFor
	if d.proved {
		wait = a.doubt
	}
	if a.now().Sub(a.renewed) < wait {
		a.in.metrics.doubted.Inc()
		if !a.doubting {
			a.logger.Error("a server claims other blocks of the log, and is not believed again so soon, so it gets nothing", "log_id", d.Log.String(), "reason", d.Reason, "proved_role", d.proved)
		}
		a.doubting = true
		return
	}
	a.renewed, a.doubting = a.now(), false
	a.doubt = max(renewEvery, min(2*a.doubt, doubtFor))
	a.logger.Error("a server has diverged from the log, starting a new log", "log_id", d.Log.String(), "reason", d.Reason)
	next, err := s.renew(a.store)
	if err != nil {
		a.fail(s, err)
		return
	}
	a.in.metrics.renewed.Inc()
	a.ended.adopt(a.store, next.writer.Log().ID())
	a.use(next)
}
