package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/promgrpc/exporter/internal/address"
)

const (
	// consulWait is how long an agent may hold a question while nothing changes.
	consulWait = 30 * time.Second
	// consulPause between two questions, so that many changes are one.
	consulPause = 50 * time.Millisecond
)

// consul asks an agent for the instances of a service that have a tag, "" for all.
type consul struct {
	agent        *consulAgent
	service, tag string
	o            Options
}

func parseConsul(rest string, o Options) (*consul, error) {
	rest, query, tagged := strings.Cut(rest, "?")
	at, service, _ := strings.Cut(rest, "/")
	if service == "" || strings.ContainsAny(service, "/#") {
		return nil, fmt.Errorf("%q is not the name of a service, want consul://[AGENT[:8500]]/SERVICE[?tag=TAG]", service)
	}
	tag := ""
	if tagged {
		var err error
		if tag, err = parseTag(query); err != nil {
			return nil, err
		}
	}
	agent, err := newConsulAgent(at, o.Logger)
	if err != nil {
		return nil, err
	}
	o.Logger = o.Logger.With("consul", cmp.Or(agent.at.path, agent.at.host), "service", service)
	if tag != "" {
		o.Logger = o.Logger.With("tag", tag)
	}
	return &consul{agent: agent, service: service, tag: tag, o: o}, nil
}

// parseTag reads what comes after the question mark.
func parseTag(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) != 1 || len(values["tag"]) != 1 {
		return "", fmt.Errorf("after the question mark is %q, want tag=TAG", query)
	}
	tag := values.Get("tag")
	return tag, checkTag(tag)
}

// Watch implements [Source].
func (c *consul) Watch(ctx context.Context) <-chan []Instance {
	f := newFeed()
	q := &consulQuery{consul: c}
	d := directory{lookup: q.ask, wait: consulWait, pause: consulPause, hurry: consulPause, logger: c.o.Logger}
	go func() {
		defer c.agent.transport.CloseIdleConnections()
		d.watch(ctx, f)
	}()
	return f.ch
}

// consulQuery is a question that is asked again and again.
type consulQuery struct {
	*consul
	index uint64
}

// errForgotten says that an agent answers from a state older than it had, as
// after a restart.
var errForgotten = errors.New("consul has lost its state")

func (c *consulQuery) ask(ctx context.Context, wait time.Duration) ([]Instance, error) {
	// The agent adds a sixteenth, so that its clients do not come back at once.
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+answerTime)
	defer cancel()
	o := (&api.QueryOptions{WaitIndex: c.index, WaitTime: wait}).WithContext(ctx)
	entries, meta, err := c.agent.Health().Service(c.service, c.tag, !c.o.Unready, o)
	if err != nil {
		c.index = 0
		return nil, err
	}
	if meta.LastIndex < c.index {
		c.index = 0
		return nil, errForgotten
	}
	c.index = max(meta.LastIndex, 1) // 0 would not wait.
	return c.instances(entries), nil
}

func (c *consul) instances(entries []*api.ServiceEntry) []Instance {
	// Of several at one address, the one that was registered last is there. Those
	// before it ended without deregistering.
	slices.SortStableFunc(entries, func(a, b *api.ServiceEntry) int { return cmp.Compare(b.Service.CreateIndex, a.Service.CreateIndex) })
	var set []Instance
	for _, e := range entries {
		at, err := c.dialAddress(e)
		if err != nil {
			c.o.Logger.Warn("instance cannot be used", "id", e.Service.ID, "err", err)
			continue
		}
		if slices.ContainsFunc(set, func(i Instance) bool { return i.Address == at }) {
			continue
		}
		id := e.Service.ID
		if slices.ContainsFunc(set, func(i Instance) bool { return i.ID == id }) {
			id += "@" + e.Node.Node // An ID is unique on its node only.
		}
		set = append(set, Instance{ID: id, Address: at})
	}
	return set
}

func (c *consul) dialAddress(e *api.ServiceEntry) (string, error) {
	host := e.Service.Address
	if host == "" {
		host = e.Node.Address
	}
	port := strconv.Itoa(e.Service.Port)
	if key := c.o.PortMeta; key != "" {
		var ok bool
		if port, ok = e.Service.Meta[key]; !ok {
			return "", fmt.Errorf("its meta has no %s", key)
		}
	}
	at := net.JoinHostPort(host, port)
	return at, address.HostPort(at)
}
