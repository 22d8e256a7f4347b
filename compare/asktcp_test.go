package compare_test

import (
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"relay/compare"
)

// speak serves TCP with a text, or says nothing.
func speak(t *testing.T, address, text string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			if text == "" {
				go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }()
				continue
			}
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestTCPServices(t *testing.T) {
	t.Parallel()
	greets, other := speak(t, "127.0.0.1:0", "220 mail\r\n"), speak(t, "127.0.0.1:0", "220 mail\r\n")
	speak(t, fmt.Sprintf("127.0.0.2:%d", greets), "220 mail\r\n")
	speak(t, fmt.Sprintf("127.0.0.2:%d", other), "220 another\r\n")
	away := speak(t, "127.0.0.1:0", "220 mail\r\n") // on one side
	asking := quick()
	asking.WaitForGreetings(time.Minute)
	got := askTCP(t, asking, greets, other, away, 9)
	want := []string{fmt.Sprintf("different failed tcp/%d", away), fmt.Sprintf("different tcp-port tcp/%d", other), "cannot-tell failed tcp/9"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestSilentTCPServices(t *testing.T) {
	t.Parallel()
	silent := speak(t, "127.0.0.1:0", "")
	speak(t, fmt.Sprintf("127.0.0.2:%d", silent), "")
	if got := askTCP(t, quick(), silent); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// askTCP asks for TCP services of a side on 127.0.0.1, and of another on 127.0.0.2.
func askTCP(t *testing.T, asking compare.Asking, ports ...int) []string {
	t.Helper()
	var apps []app
	for i, port := range ports {
		apps = append(apps, app{id: fmt.Sprintf("/t%d", i), port: 10000 + i, labels: map[string]string{"HAPROXY_0_MODE": "tcp", "HAPROXY_0_PORT": fmt.Sprint(port)}})
	}
	old := httptest.NewServer(page("x"))
	defer old.Close()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	new := httptest.NewUnstartedServer(page("x"))
	new.Listener.Close()
	new.Listener = l
	new.Start()
	defer new.Close()
	r := ask(t, sidesOf(t, settings{}, apps...), asking, compare.Addresses{Old: old.URL, New: new.URL})
	if n := r.Tallies[0].Compared; n != len(ports) {
		t.Errorf("%d are compared", n)
	}
	return brief(r)
}
