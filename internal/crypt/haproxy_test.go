package crypt

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// haproxy is a real HAProxy that asks for a password of each of some hashes, by path.
func haproxy(t *testing.T, hashes []string) (url string) {
	t.Helper()
	program := "/usr/sbin/haproxy"
	if path, err := exec.LookPath("haproxy"); err == nil {
		program = path
	}
	address := fmt.Sprint("127.0.0.1:", envoytest.FreePort(t))
	var config strings.Builder
	config.WriteString("global\n  tune.bufsize 65536\ndefaults\n  mode http\n  timeout client 10s\n  timeout connect 1s\n  timeout server 10s\n")
	for i, hash := range hashes {
		fmt.Fprintf(&config, "userlist users_%d\n  user joe password %s\n  user jürgen password %s\n", i, hash, hash)
	}
	fmt.Fprintf(&config, "frontend all\n  bind %s\n", address)
	for i := range hashes {
		fmt.Fprintf(&config, "  http-request auth realm r if { path /%d } !{ http_auth(users_%d) }\n", i, i)
	}
	config.WriteString("  http-request return status 200\n")
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-db", "-f", file)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatalf("haproxy, which make tools installs as root: %v", err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			stop()
			_ = cmd.Wait()
			t.Fatalf("haproxy does not answer: %s", out.String())
		}
	}
}

// Relay lets in who marathon-lb's HAProxy lets in, and nobody else: by the crypt(3) of this machine. Hashes of htpasswd that no
// crypt(3) knows let in people at Relay alone.
func TestLikeHAProxy(t *testing.T) {
	t.Parallel()
	const mine = "{SHA} $apr1$"
	var hashes []string
	for _, k := range known {
		hashes = append(hashes, k.hash)
	}
	// What no password fits, or only another one.
	hashes = append(hashes,
		"abhfCpXqd4GrI", "topsecret", "correct", "topsecret1234", "$6$x", "$5$salt$x", "$1$salt$", "$2y$10$short",
		"$6$saltsaltsaltsaltsalt$"+known[1].hash[len(known[1].hash)-86:],
		strings.Replace(known[1].hash, "$6$", "$5$", 1),
		strings.Replace(known[1].hash, "$6$", "$6$rounds=5000$", 1),
		strings.Replace(known[1].hash, "$6$", "$6$rounds=999$", 1),
	)
	url := haproxy(t, hashes)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i, hash := range hashes {
		h, _ := Parse(hash)
		for _, user := range []string{"joe", "jürgen"} {
			for _, p := range []string{password, "", "wrong", password + " ", strings.ToUpper(password), password[:8], hash, strings.Repeat("x", 200)} {
				if user != "joe" && p != password {
					continue
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/%d", url, i), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.SetBasicAuth(user, p)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				theirs, ours := resp.StatusCode == http.StatusOK, h.Matches(p)
				if theirs != ours && !(ours && p == password && strings.Contains(mine, hash[:5])) {
					t.Errorf("%q for %s: HAProxy lets in %v, Relay %v", p, hash, theirs, ours)
				}
			}
		}
	}
}
