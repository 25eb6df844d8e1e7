package webconfig

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/limit"
)

// FlagPasswordChecks limits the checks of passwords that are under way.
const FlagPasswordChecks = "--limit.password-checks"

// DefaultPasswordChecks is the default of the flag: a check takes some 50 ms, and a
// sender's connections share theirs.
const DefaultPasswordChecks = 16

// After a wrong password nobody's is checked for a few times as long as that took, so
// that strangers have a fraction of one processor.
const (
	wrongPause    = 3
	maxWrongPause = time.Second
)

var errWrong = errors.New("wrong name or password")

// passwords checks passwords, one at a time. What was right is remembered as a digest.
type passwords struct {
	seed  []byte
	turns *limit.Budget // one: peers take theirs in turn

	mu     sync.Mutex
	checks *limit.Budget            // those under way, and those that wait for their turn
	right  map[string]string        // by user: the digest of what was right
	shared map[string]*sharedResult // by digest: checks under way
}

// sharedResult is the result of one check, which all wait for who sent the same.
type sharedResult struct {
	done chan struct{}
	err  error
}

func newPasswords() *passwords {
	p := &passwords{
		seed: make([]byte, 32), turns: limit.NewBudget(FlagPasswordChecks, "password checks", 1, 1),
		right: map[string]string{}, shared: map[string]*sharedResult{},
	}
	_, _ = rand.Read(p.seed) // It does not fail.
	p.limit(DefaultPasswordChecks, DefaultPasswordChecks/2)
	return p
}

func (p *passwords) limit(most, share int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = limit.NewBudget(FlagPasswordChecks, "password checks", int64(most), int64(share))
}

// check returns nil for a right password, errWrong, or a [*limit.Error].
func (p *passwords) check(peer string, of users, name, password string) error {
	hash, known := of.hash(p.seed, name)
	key := string(digest(p.seed, name, string(hash), password))
	p.mu.Lock()
	if known && p.right[name] == key {
		p.mu.Unlock()
		return nil
	}
	result, others := p.shared[key]
	if !others {
		result = &sharedResult{done: make(chan struct{})}
		p.shared[key] = result
	}
	checks := p.checks
	p.mu.Unlock()
	if others {
		<-result.done
		return result.err
	}
	result.err = p.compare(checks.Hold(peer), peer, known, string(hash), password)
	p.mu.Lock()
	delete(p.shared, key)
	if result.err == nil {
		p.right[name] = key
	}
	p.mu.Unlock()
	close(result.done)
	return result.err
}

// compare waits for its turn and compares.
func (p *passwords) compare(slot *limit.Hold, peer string, known bool, hash, password string) error {
	if err := slot.Resize(1); err != nil {
		return err
	}
	defer slot.Release()
	turn := p.turns.Hold(peer)
	if err := turn.Wait(context.Background(), 1); err != nil {
		return err
	}
	defer turn.Release()
	start := time.Now()
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if known && err == nil {
		return nil
	}
	time.Sleep(min(wrongPause*time.Since(start), maxWrongPause))
	return errWrong
}
