package wake

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// orderedApp answers requests by HTTP/2, and notes the order in which each connection brings them. Go's
// own server has a goroutine for each, which the machine may run in any order.
type orderedApp struct {
	address string
	mu      sync.Mutex
	came    [][]string // paths by connection
}

func startOrderedApp(t *testing.T) *orderedApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &orderedApp{address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			ctx := t.Context()
			all.Go(func() { <-ctx.Done(); _ = conn.Close() })
			all.Go(func() { a.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return a
}

// serve answers the requests of a connection, each as soon as it has come.
func (a *orderedApp) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if framer.WriteSettings() != nil {
		return
	}
	var status bytes.Buffer
	_ = hpack.NewEncoder(&status).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	a.mu.Lock()
	a.came = append(a.came, nil)
	of := len(a.came) - 1
	a.mu.Unlock()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			a.mu.Lock()
			a.came[of] = append(a.came[of], f.PseudoValue("path"))
			a.mu.Unlock()
			err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: status.Bytes(), EndStream: true, EndHeaders: true})
		}
		if err != nil {
			return
		}
	}
}

// requests returns the paths that each connection brought, in order.
func (a *orderedApp) requests() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([][]string(nil), a.came...)
}
