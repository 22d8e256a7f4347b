package imp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"relay/testdata/scenarios/scenario"
)

// device is one in the field.
type device struct {
	id      string
	address string
	config  *tls.Config

	mu   sync.Mutex
	conn net.Conn
	// in are the answers that come; it is closed when the connection ends.
	in     chan frame
	server string
	// connects counts connections; told and cut how they ended: as the server said, or without a word.
	connects, told, cut int
}

func newDevice(id, address string, roots *x509.CertPool, certificate *tls.Certificate) *device {
	config := &tls.Config{ServerName: "devices.imp.test", RootCAs: roots, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	return &device{id: id, address: address, config: config}
}

// stay is connected all the time; it waits up to half a second before it connects again.
func (d *device) stay(ctx context.Context, r *scenario.Run) {
	for ctx.Err() == nil {
		start := time.Now()
		conn, server, err := d.connect(ctx)
		if ctx.Err() == nil {
			r.Figures.Request(time.Since(start), err)
		}
		if err == nil {
			in := make(chan frame, 4)
			d.note(func() { d.conn, d.in, d.server, d.connects = conn, in, server, d.connects+1 })
			told := d.read(ctx, conn, in)
			if ctx.Err() != nil {
				return
			}
			r.Figures.Closed()
			d.note(func() {
				d.conn = nil
				if told {
					d.told++
				} else {
					d.cut++
				}
			})
		}
		scenario.Pause(ctx, rand.N(time.Second/2))
	}
}

func (d *device) note(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// connect connects and says who it is. It returns the name of the server.
func (d *device) connect(ctx context.Context) (net.Conn, string, error) {
	ctx, cancel := context.WithTimeout(ctx, frameTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: d.config}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, "", err
	}
	_ = conn.SetDeadline(time.Now().Add(frameTimeout))
	_, err = conn.Write(frame{hello, d.id}.bytes())
	var f frame
	if err == nil {
		f, err = readFrame(conn)
	}
	if err == nil && f.kind != welcome {
		err = errUnexpected
	}
	if err != nil {
		_ = conn.Close()
		return nil, "", err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, f.text, nil
}

// read hands on what comes, until the connection ends or the server says that it will.
func (d *device) read(ctx context.Context, conn net.Conn, in chan<- frame) (told bool) {
	defer close(in)
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for {
		f, err := readFrame(conn)
		if err != nil {
			return false
		}
		if f.kind == comeAgain {
			return true
		}
		select {
		case in <- f:
		default: // nobody asked
		}
	}
}

// errAway is that of a device that is not connected.
var errAway = errors.New("it is not connected")

// ask sends a frame, and returns the answer.
func (d *device) ask(r *scenario.Run, f frame, want kind) (string, error) {
	start := time.Now()
	var conn net.Conn
	var in chan frame
	d.note(func() { conn, in = d.conn, d.in })
	if conn == nil {
		return "", fmt.Errorf("%s: %w", d.id, errAway)
	}
	if _, err := conn.Write(f.bytes()); err != nil {
		return "", err
	}
	timeout := time.NewTimer(frameTimeout)
	defer timeout.Stop()
	select {
	case answer, ok := <-in:
		if !ok || answer.kind != want {
			return "", fmt.Errorf("%s: %w: %+v", d.id, errUnexpected, answer)
		}
		r.Figures.Request(time.Since(start), nil)
		return answer.text, nil
	case <-timeout.C:
		return "", errors.New(d.id + " gets no answer")
	}
}
