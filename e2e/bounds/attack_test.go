package bounds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// attack is an input that is dear, and what has to come of it.
type attack struct {
	name string
	// callers that each attacker has at a time. They repeat the input until the
	// time is over.
	callers int
	// once sends the input, as the caller with a number that no other has, and says
	// what came of it.
	once func(ctx context.Context, a *attacker, caller int) string
	// before, if there is one, is what has to be there, and made once.
	before func(r *rig)
	// refusals are parts of what may come of it. One at least has to. None: whatever
	// comes is right, as long as nobody else is harmed.
	refusals []string
	// queue says that what it sends is allowed and worked off in turn, so that what
	// others write waits for what --limit.inflight-bytes has let in before.
	queue bool
	// streams that each attacker holds open until the time is over.
	streams int
}

// attacker is one address on this machine that attacks, and so a peer of its own.
type attacker struct {
	r      *rig
	ip     string
	dialer *net.Dialer
	// web speaks HTTP/1.1, rpc HTTP/2.
	web, rpc *http.Client
}

func newAttacker(r *rig, number int) *attacker {
	a := &attacker{r: r, ip: fmt.Sprintf("127.0.0.%d", 1+number)}
	a.dialer = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a.ip)}, Timeout: 10 * time.Second}
	a.web = &http.Client{Transport: &http.Transport{DialContext: a.dialer.DialContext, MaxIdleConnsPerHost: 64}}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	a.rpc = &http.Client{Transport: &http.Transport{DialContext: a.dialer.DialContext, Protocols: protocols}}
	return a
}

func (a *attacker) close() {
	a.web.CloseIdleConnections()
	a.rpc.CloseIdleConnections()
}

// grpc returns a connection of grpc-go, with its defaults.
func (a *attacker) grpc(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return a.dialer.DialContext(ctx, "tcp", address)
		}))...)
}

// outcomes count what came of inputs.
type outcomes struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *outcomes) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]int{}
	}
	o.counts[what]++
}

func (o *outcomes) any(parts []string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for what := range o.counts {
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(what, part) }) {
			return true
		}
	}
	return false
}

// String has the most frequent ones first.
func (o *outcomes) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	kinds := slices.SortedFunc(maps.Keys(o.counts), func(a, b string) int { return o.counts[b] - o.counts[a] })
	var texts []string
	for _, kind := range kinds[:min(4, len(kinds))] {
		texts = append(texts, fmt.Sprintf("%d× %s", o.counts[kind], kind))
	}
	return strings.Join(texts, ", ")
}

// answerWithin is how long an attacker waits for an answer.
const answerWithin = time.Minute

// launch has so many attackers send the input over and over for a time, and
// returns what came of it when all of them have ended.
func (r *rig) launch(k attack, attackers int, how time.Duration) *outcomes {
	over, cancel := context.WithTimeout(r.t.Context(), how)
	defer cancel()
	got := &outcomes{}
	var wg sync.WaitGroup
	for n := range attackers {
		a := newAttacker(r, 1+n) // The first address is the canary's.
		defer a.close()
		for caller := range k.callers {
			wg.Go(func() {
				ctx := over
				if k.streams == 0 {
					answer, cancel := context.WithTimeout(r.t.Context(), how+answerWithin)
					defer cancel()
					ctx = answer
				}
				for round := 0; over.Err() == nil; round++ {
					what := k.once(ctx, a, caller+k.callers*(n+attackers*round))
					if over.Err() == nil || what != "canceled" {
						got.add(what)
					}
				}
			})
		}
	}
	wg.Wait()
	return got
}

var limitFlag = regexp.MustCompile(`--(limit|stream)\.[a-z-]+`)

// told is what came of a call, in few words: its code, and the limit that it
// names.
func told(err error) string {
	if err == nil {
		return "served"
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "canceled"
	}
	var known *connect.Error
	if !errors.As(err, &known) {
		return brief(err.Error())
	}
	if known.Code() == connect.CodeCanceled || known.Code() == connect.CodeDeadlineExceeded {
		return "canceled"
	}
	text := known.Code().String() + " " + brief(known.Message())
	for _, d := range known.Details() {
		if v, err := d.Value(); err == nil {
			if _, ok := v.(*errdetails.RetryInfo); ok {
				text += ", come again"
			}
		}
	}
	return text
}

// brief is an error without what differs each time.
func brief(text string) string {
	if flag := limitFlag.FindString(text); flag != "" {
		return flag
	}
	if strings.Contains(text, "cancel") || strings.Contains(text, "deadline") {
		return "canceled"
	}
	for _, known := range []string{"connection refused", "connection reset", "broken pipe", "GOAWAY", "EOF", "i/o timeout"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return text[:min(80, len(text))]
}
