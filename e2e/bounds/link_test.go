package bounds

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/e2e/harness"
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/link"
)

// TestLink has peers attack the ports that the parts have for each other.
func TestLink(t *testing.T) {
	r := newRig(t, harness.Options{})
	forwarder, feed := r.Forwarders[0], r.Servers[0]
	r.withstands(t, []attack{
		{name: "unfinished requests", callers: 64, once: unfinished(forwarder, linkv1.Role_ROLE_RECEIVER)},
		{name: "unfinished pieces of a log", callers: 40, once: unfinished(feed, linkv1.Role_ROLE_FORWARDER)},
		{name: "silent peers", callers: 200, once: silent(forwarder)},
		{name: "pings that nobody waits for", callers: 8, once: pings(forwarder)},
		{name: "verdicts that nobody reads", callers: 8, once: verdicts},
	})
	// Each of the logs that were begun at a server is there to stay.
	const aLog = 4 << 20
	r.fallsBack(t, cursor.MaxLogs*aLog)
}

// peerOf dials the link of a process and says hello.
func (a *attacker) peerOf(ctx context.Context, p *harness.Process, role linkv1.Role) (net.Conn, error) {
	conn, err := a.dialer.DialContext(ctx, "tcp", p.Listening("link"))
	if err != nil {
		return nil, err
	}
	hello := &linkv1.Hello{Version: link.Version, Role: role, Instance: a.ip}
	if role == linkv1.Role_ROLE_FORWARDER {
		hello.LogId = make([]byte, 16)
		_, _ = rand.Read(hello.LogId)
	}
	_ = conn.SetDeadline(time.Now().Add(answerWithin))
	_, err = conn.Write(frame(&linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: hello}}))
	if err == nil {
		_, err = conn.Read(make([]byte, 4<<10)) // The welcome, or a goodbye.
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func frame(f *linkv1.Frame) []byte {
	data, _ := proto.Marshal(f) // It is valid.
	return append(protowire.AppendVarint(nil, uint64(len(data))), data...)
}

// unfinished leaves the largest frame that the process takes without its last
// byte.
func unfinished(p *harness.Process, role linkv1.Role) func(context.Context, *attacker, int) string {
	var once sync.Once
	var data []byte
	return func(ctx context.Context, a *attacker, _ int) string {
		once.Do(func() {
			body := make([]byte, a.r.configs.Forwarder.RequestBytes)
			f := &linkv1.Frame{Kind: &linkv1.Frame_Append{Append: &linkv1.SegmentAppend{Data: body}}}
			if role == linkv1.Role_ROLE_RECEIVER {
				f = &linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{Id: 1, Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: body}}}
			}
			data = frame(f)
		})
		conn, err := a.peerOf(ctx, p, role)
		if err != nil {
			return brief(err.Error())
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(*boundsFor))
		if _, err := conn.Write(data[:len(data)-1]); err != nil {
			return brief(err.Error())
		}
		return hold(conn)
	}
}

// silent says nothing at all.
func silent(p *harness.Process) func(context.Context, *attacker, int) string {
	return func(ctx context.Context, a *attacker, _ int) string {
		conn, err := a.dialer.DialContext(ctx, "tcp", p.Listening("link"))
		if err != nil {
			return brief(err.Error())
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(*boundsFor))
		return hold(conn)
	}
}

// pings asks for pongs and reads none.
func pings(p *harness.Process) func(context.Context, *attacker, int) string {
	many := bytes.Repeat(frame(&linkv1.Frame{Kind: &linkv1.Frame_Ping{Ping: &linkv1.Ping{Id: 1}}}), 10_000)
	return func(ctx context.Context, a *attacker, _ int) string {
		return flood(ctx, a, p, many)
	}
}

// verdicts sends requests that are refused with many words, and reads none of them.
func verdicts(ctx context.Context, a *attacker, n int) string {
	body := []byte(fmt.Sprintf("%d is not snappy", n))
	many := bytes.Repeat(frame(&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{Id: 1, Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: body}}}), 1000)
	return flood(ctx, a, a.r.Forwarders[0], many)
}

// flood writes frames until the peer takes no more.
func flood(ctx context.Context, a *attacker, p *harness.Process, frames []byte) string {
	conn, err := a.peerOf(ctx, p, linkv1.Role_ROLE_RECEIVER)
	if err != nil {
		return brief(err.Error())
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(*boundsFor))
	for {
		if _, err := conn.Write(frames); err != nil {
			return brief(err.Error())
		}
	}
}

// hold reads what comes until the connection ends or its deadline is over.
func hold(conn net.Conn) string {
	data := make([]byte, 4<<10)
	for {
		if _, err := conn.Read(data); err != nil {
			return brief(err.Error())
		}
	}
}
