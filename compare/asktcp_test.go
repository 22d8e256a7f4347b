package compare_test

import (
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"

	"relay/compare"
)

func TestTCPServices(t *testing.T) {
	t.Parallel()
	speak := func(address, text string) (port int) {
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
	greets, silent, other := speak("127.0.0.1:0", "220 mail\r\n"), speak("127.0.0.1:0", ""), speak("127.0.0.1:0", "220 mail\r\n")
	speak(fmt.Sprintf("127.0.0.2:%d", greets), "220 mail\r\n")
	speak(fmt.Sprintf("127.0.0.2:%d", silent), "")
	speak(fmt.Sprintf("127.0.0.2:%d", other), "220 another\r\n")
	away := speak("127.0.0.1:0", "") // on one side
	var apps []app
	for i, port := range []int{greets, silent, other, away, 9} {
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
	r := ask(t, sidesOf(t, settings{}, apps...), quick(), compare.Addresses{Old: old.URL, New: new.URL})
	want := []string{fmt.Sprintf("different failed tcp/%d", away), fmt.Sprintf("different tcp-port tcp/%d", other), "cannot-tell failed tcp/9"}
	if got := brief(r); !slices.Equal(got, want) || r.Tallies[0].Compared != 5 {
		t.Errorf("got %v of %d, want %s", got, r.Tallies[0].Compared, want)
	}
}
