package torture

import (
	"slices"
	"syscall"
	"time"
)

// pending is what ends a fault.
type pending struct {
	at  time.Time
	end func()
}

// drive carries out the plan. It returns when all faults have ended, with
// everything healed.
func (r *rig) drive(faults []fault, clients *clients) {
	begin := time.Now()
	for len(faults) > 0 || len(r.ends) > 0 {
		next := time.Now().Add(50 * time.Millisecond)
		now := time.Now()
		r.watch()
		clients.watch()
		r.ends = slices.DeleteFunc(r.ends, func(p pending) bool {
			if now.Before(p.at) {
				return false
			}
			p.end()
			return true
		})
		for len(faults) > 0 && now.Sub(begin) >= faults[0].at {
			f := faults[0]
			faults = faults[1:]
			end, ok := r.begin(f, clients)
			if !ok {
				continue // what it is about is down already
			}
			r.counts[f.kind]++
			if end != nil {
				r.ends = append(r.ends, pending{now.Add(f.lasts), end})
			}
		}
		time.Sleep(time.Until(next))
	}
	if rest := r.o.duration - time.Since(begin); rest > 0 {
		time.Sleep(rest)
	}
	r.heal()
}

// begin of a fault; end is nil where it has none.
func (r *rig) begin(f fault, c *clients) (end func(), ok bool) {
	switch f.kind {
	case kill:
		return r.kill(r.units[f.target%len(r.units)])
	case killServers:
		return r.kill(r.servers...)
	case killAll:
		return r.kill(r.units...)
	case terminate:
		return r.terminate(r.units[f.target%len(r.units)])
	case pause:
		return r.pause(r.units[f.target%len(r.units)])
	case groupAway:
		return r.kill(r.groups[f.target%len(r.groups)].servers...)
	case groupCut:
		return r.cutOff(r.groups[f.target%len(r.groups)]), true
	case seriesMove:
		r.move()
		return nil, true
	case pauseAll:
		return r.pause(r.servers...)
	case cut, cutWithin, slow, hold, partition:
		return r.network(f, r.proxies[f.target%len(r.proxies)])
	case diskFull, diskTight:
		// Forwarders' as often as servers'.
		side := r.forwarders
		if f.target%2 == 1 {
			side = r.servers
		}
		return r.fill(f, side[f.target/2%len(side)])
	case diskLost:
		return r.lose(r.servers[f.target%len(r.servers)])
	case forwarderLost:
		return r.lose(r.forwarders[f.target%len(r.forwarders)])
	case replicaSilent:
		return r.silence(f)
	case bucketAway, bucketSlow, bucketRefuses, bucketAnswersLost:
		return r.bucketFails(f)
	case logCut:
		return r.cutLogs(f)
	case clockBack, clockForward:
		clocks := r.clocks()
		return nil, r.step(f, clocks[f.target%len(clocks)])
	case clientKill:
		return c.cli.end(r, syscall.SIGKILL)
	case clientTerm:
		return c.cli.end(r, syscall.SIGTERM)
	case clientStart:
		all := c.readings()
		l := all[f.target%len(all)]
		if l.down {
			return nil, false
		}
		r.say("%s: %s", f.kind, l.name)
		l.stop()
		return l.start, true
	}
	r.t.Fatalf("fault %q is not known", f.kind)
	return nil, false
}

// signal a process, if it is still there.
func (u *unit) signal(s syscall.Signal) { _ = syscall.Kill(u.PID(), s) }

func (r *rig) kill(units ...*unit) (func(), bool) {
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return u.state == down || !u.Running() })
	for _, u := range units {
		u.signal(syscall.SIGKILL)
		r.say("kill -9 %s", u.Name)
	}
	for _, u := range units {
		u.Wait(10 * time.Second)
		u.state = down
	}
	return func() {
		for _, u := range units {
			if u.state == down {
				r.say("start %s", u.Name)
				u.revive()
			}
		}
	}, len(units) > 0
}

// endTime is how long a process may take to end, which drains for ten seconds: on a machine
// that is busy beyond measure.
const endTime = time.Minute

func (r *rig) terminate(u *unit) (func(), bool) {
	if u.state != up || !u.Running() || !u.begun() {
		return nil, false
	}
	r.say("SIGTERM %s", u.Name)
	u.signal(syscall.SIGTERM)
	u.state = ending
	life := u.life
	return func() {
		if u.state != ending || u.life != life {
			return // it was killed meanwhile
		}
		// One that does not end says where it stands.
		stuck := time.AfterFunc(endTime, func() { u.signal(syscall.SIGQUIT) })
		defer stuck.Stop()
		if code := u.Wait(endTime + 10*time.Second); code != 0 && !u.disk.wasFull() {
			r.t.Errorf("%s: SIGTERM was answered with the exit code %d", u.Name, code)
		}
		r.say("start %s", u.Name)
		u.revive()
	}, true
}

func (r *rig) pause(units ...*unit) (func(), bool) {
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return u.state != up || !u.Running() })
	lives := make([]int, len(units))
	for i, u := range units {
		r.say("SIGSTOP %s", u.Name)
		u.signal(syscall.SIGSTOP)
		u.state, lives[i] = paused, u.life
	}
	return func() {
		for i, u := range units {
			if u.state == paused && u.life == lives[i] {
				r.say("SIGCONT %s", u.Name)
				u.signal(syscall.SIGCONT)
				u.state = up
			}
		}
	}, len(units) > 0
}

func (r *rig) network(f fault, p *proxy) (func(), bool) {
	r.say("%s %s", f.kind, p.name)
	switch f.kind {
	case cut:
		p.cut()
		return nil, true
	case cutWithin:
		p.cutAfter(f.amount)
		return nil, true
	case slow:
		p.slow(time.Duration(1+f.amount%50) * time.Millisecond)
	case hold:
		p.hold()
	case partition:
		p.partition()
	}
	return func() {
		r.say("heal %s", p.name)
		if f.kind == hold && f.amount%2 == 0 {
			p.cut() // what was held never arrives
		}
		p.heal()
	}, true
}

func (r *rig) fill(f fault, u *unit) (func(), bool) {
	leave := 0
	if f.kind == diskTight {
		leave = f.amount
	}
	if u.disk == nil || u.disk.full {
		return nil, false
	}
	if err := u.disk.fill(leave); err != nil {
		r.t.Errorf("fill the disk of %s: %v", u.Name, err)
		return nil, false
	}
	r.say("disk of %s is full, but for %d bytes", u.Name, leave)
	return func() {
		r.say("disk of %s has room", u.Name)
		u.disk.free()
	}, true
}
