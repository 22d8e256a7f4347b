package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	upgradeDevices, upgradeSockets = 2000, 500
	// deviceRetry is how long a device, or a page, waits before it connects again.
	deviceRetry = 200 * time.Millisecond
)

// field is devices and browsers that stay connected, and connect again when they are cut.
type field struct {
	w       *world
	service string
	// cut counts connections that were ended, and failed attempts to connect.
	cut, failed atomic.Int64
	connected   atomic.Int64
	came        atomic.Int64 // newcomers
	mu          sync.Mutex
	why         []string
	wg          sync.WaitGroup
	// rounds has, for each, where it is asked to use its connection once.
	rounds []chan chan error
}

// note keeps the first few reasons.
func (f *field) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.why) < 10 {
		f.why = append(f.why, fmt.Sprintf(format, args...))
	}
}

// openField connects all of them.
func openField(w *world, service string, devices, sockets int) *field {
	w.t.Helper()
	f := connectField(w, service, devices, sockets)
	w.eventually("all are connected", func() error { return f.all(devices + sockets) })
	return f
}

// connectField is openField that does not wait until they are connected.
func connectField(w *world, service string, devices, sockets int) *field {
	f := &field{w: w, service: service}
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(func() { cancel(); f.wg.Wait() })
	for range devices {
		f.keep(ctx, f.device)
	}
	for range sockets {
		f.keep(ctx, f.socket)
	}
	return f
}

func (f *field) all(n int) error {
	if got := f.connected.Load(); got != int64(n) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("%d of %d are connected: %s", got, n, strings.Join(f.why, "; "))
	}
	return nil
}

// conversation is an open connection.
type conversation struct {
	// say uses it once, and reports whether it works.
	say func() error
	// end waits until it is ended.
	end func() error
	io.Closer
}

// keep keeps one connected.
func (f *field) keep(ctx context.Context, connect func(context.Context) (conversation, error)) {
	asked := make(chan chan error)
	f.rounds = append(f.rounds, asked)
	f.wg.Go(func() {
		for ctx.Err() == nil {
			c, err := connect(ctx)
			if err != nil {
				if ctx.Err() == nil {
					f.failed.Add(1)
					f.note("connect: %v", err)
				}
				pause(ctx, deviceRetry)
				continue
			}
			f.connected.Add(1)
			f.talk(ctx, c, asked)
			f.connected.Add(-1)
			_ = c.Close()
			pause(ctx, deviceRetry)
		}
	})
}

// talk uses a connection until it is ended.
func (f *field) talk(ctx context.Context, c conversation, asked chan chan error) {
	ended := make(chan error, 1)
	go func() { ended <- c.end() }()
	for {
		select {
		case answer := <-asked:
			answer <- c.say()
		case err := <-ended:
			if ctx.Err() == nil {
				f.cut.Add(1)
				f.note("cut: %v", err)
			}
			return
		case <-ctx.Done():
			_ = c.Close()
			<-ended
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

var errQuiet = errors.New("no answer")

// device speaks lines: it waits for the greeting, as devices wait for their server.
func (f *field) device(ctx context.Context) (conversation, error) {
	// Devices of one address may not have all places where they wait.
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+rand.IntN(200)))}
	conn, err := (&net.Dialer{Timeout: patience, LocalAddr: from}).DialContext(ctx, "tcp", f.service)
	if err != nil {
		return conversation{}, err
	}
	in := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := in.ReadString('\n'); err != nil {
		_ = conn.Close()
		return conversation{}, fmt.Errorf("greeting: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	answers := make(chan string, 1)
	return conversation{
		say: func() error {
			if _, err := io.WriteString(conn, "ping\n"); err != nil {
				return err
			}
			select {
			case <-answers:
				return nil
			case <-time.After(patience):
				return errQuiet
			}
		},
		end: func() error {
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return err
				}
				answers <- line
			}
		},
		Closer: conn,
	}, nil
}

// socket is a WebSocket that echoes.
func (f *field) socket(ctx context.Context) (conversation, error) {
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, _, err := websocket.Dial(dialing, "ws://"+f.w.clients.http+"/ws", &websocket.DialOptions{Host: "chat.test"})
	if err != nil {
		return conversation{}, err
	}
	answers := make(chan struct{}, 1)
	return conversation{
		say: func() error {
			if err := conn.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
				return err
			}
			select {
			case <-answers:
				return nil
			case <-time.After(patience):
				return errQuiet
			}
		},
		end: func() error {
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return err
				}
				answers <- struct{}{}
			}
		},
		Closer: closer(conn.CloseNow),
	}, nil
}

type closer func() error

func (c closer) Close() error { return c() }

// used uses each connection once.
func (f *field) used() {
	f.w.t.Helper()
	answers := make(chan error, len(f.rounds))
	for _, asked := range f.rounds {
		select {
		case asked <- answers:
		case <-time.After(patience):
			f.w.t.Fatal("one is not connected")
		}
	}
	for range f.rounds {
		if err := <-answers; err != nil {
			f.w.t.Fatalf("a connection does not work any more: %v", err)
		}
	}
}

// kept fails the test if a connection was ended since the field was opened.
func (f *field) kept(when string) {
	f.w.t.Helper()
	f.used()
	if cut, failed := f.cut.Load(), f.failed.Load(); cut+failed > 0 {
		f.w.t.Fatalf("%s, %d connections were ended, and %d attempts failed: %q", when, cut, failed, f.why)
	}
}

// back fails the test unless each was ended once, and is connected again within its own retry.
func (f *field) back(ended time.Time) {
	f.w.t.Helper()
	f.w.eventually("all are back", func() error { return f.all(len(f.rounds)) })
	took := time.Since(ended)
	if cut, failed := f.cut.Load(), f.failed.Load(); cut != int64(len(f.rounds)) || failed > 0 {
		f.w.t.Errorf("%d connections were ended, of %d, and %d attempts failed: %q", cut, len(f.rounds), failed, f.why)
	}
	f.w.t.Logf("all were back %s after the old Envoy ended", took)
	f.used()
}

// newcomers connect all the time until stop is called, which returns how many did, and what failed.
func (f *field) newcomers() (stop func() (came, refused int64)) {
	ctx, cancel := context.WithCancel(f.w.t.Context())
	f.w.t.Cleanup(cancel)
	var refused atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := f.device(ctx)
				switch {
				case err == nil:
					f.came.Add(1)
					_ = c.Close()
				case ctx.Err() == nil:
					refused.Add(1)
					f.note("a newcomer: %v", err)
				}
				pause(ctx, 5*time.Millisecond)
			}
		})
	}
	return func() (int64, int64) {
		cancel()
		wg.Wait()
		return f.came.Load(), refused.Load()
	}
}
