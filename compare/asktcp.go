package compare

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"relay/collator/routing"
)

const (
	// greeting is how long a server that speaks first may take, and maxGreeting how much of
	// it is compared.
	greeting    = 500 * time.Millisecond
	maxGreeting = 256
)

// askTCP connects to the TCP services that both have, and compares whether a server speaks
// first, and what it says.
func (a *asker) askTCP(ctx context.Context) {
	ports := make(map[uint16]string) // and the app
	for _, one := range a.sides.old.Services {
		if one.Mode != "tcp" || one.ServicePort < 1 || one.ServicePort > 65535 {
			continue
		}
		service, opened := a.sides.relay.services.Opened(routing.TCPListener(uint16(one.ServicePort)))
		if opened && !service.AcceptProxy {
			ports[uint16(one.ServicePort)] = one.App
		}
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		f := Finding{Verdict: Different, Kind: TCPPort, Subject: fmt.Sprintf("tcp/%d", port), App: ports[port]}
		var heard [2][]greeted
		for i, side := range a.plain {
			host, _, _ := net.SplitHostPort(side.address)
			for range asks {
				if side.limiter.Wait(ctx) != nil {
					return
				}
				heard[i] = append(heard[i], listen(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))), a.Timeout, cmp.Or(a.greeting, greeting)))
			}
		}
		if ctx.Err() != nil {
			return
		}
		a.r.count(a.t, compareGreetings(f, heard[0], heard[1]))
	}
}

// greeted is what came of a connection: what the server said first, or why there was none.
type greeted struct {
	words  string
	failed bool
}

// compareGreetings compares what was heard of each side, which was asked twice.
func compareGreetings(f Finding, old, new []greeted) []Finding {
	f.Old, f.New = old[0].words, new[0].words
	failed := func(g greeted) bool { return g.failed }
	was, is := slices.ContainsFunc(old, failed), slices.ContainsFunc(new, failed)
	switch {
	case was && is:
		f.Verdict, f.Kind, f.Reason = CannotTell, Failed, "neither side takes each connection"
	case was || is:
		f.Kind, f.Reason = Failed, "one side does not take each connection"
	case slices.Contains(new, old[0]) || slices.Contains(old, new[0]):
		return nil
	case old[0] == old[1] && new[0] == new[1]:
		f.Reason = "another app, or another instance, seems to answer"
	default:
		f.Verdict, f.Reason = CannotTell, "what the server says first is never the same"
	}
	return []Finding{f}
}

// listen connects, and says what the server says first within the time for a greeting. It tells no more of that
// than its beginning, in which there are no secrets of clients.
func listen(ctx context.Context, address string, timeout, greeting time.Duration) greeted {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return greeted{failureOf(err), true}
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(greeting)) // a connection that is closed says so when read
	text := make([]byte, maxGreeting)
	n, err := conn.Read(text)
	switch {
	case n > 0:
		line, _, _ := bytes.Cut(text[:n], []byte("\n"))
		return greeted{words: fmt.Sprintf("it says %.80q", line)}
	case failureOf(err) == "no answer in time":
		return greeted{words: "it connects, and says nothing first"}
	}
	return greeted{words: "it connects, and is closed at once"}
}
