package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/sources/labels/traefik"
)

// Apps written for Traefik, unchanged, behind Relay and a real Envoy: the same requests get the answers that
// they got.
func TestAppsOfTraefik(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t)
			w.relay.fleet.HTTPSPublicPort = 443
			rule, err := traefik.ParseDefaultRule("Host(`{{ normalize .Name }}.default.example.org`)")
			if err != nil {
				t.Fatal(err)
			}
			w.relay.config.Apps.Marathon.Traefik = &traefik.Options{EntryPoints: traefik.UsualEntryPoints("external"), DefaultRule: rule, ExposedByDefault: true}
			w.certs.issue("*.example.org", "*.blog.example.org")
			w.start()
			files, err := filepath.Glob("../testdata/traefik/" + version + "/*.json")
			if err != nil || len(files) < 12 {
				t.Fatalf("there are %d definitions, %v", len(files), err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				w.marathon.deploy(string(text))
			}
			requests, err := os.Open("../testdata/traefik/" + version + "/requests.txt")
			if err != nil {
				t.Fatal(err)
			}
			defer requests.Close()
			for lines := bufio.NewScanner(requests); lines.Scan(); {
				if line := lines.Text(); !strings.HasPrefix(line, "#") {
					w.eventually(line, func() error { return w.asExpected(line) })
				}
			}
			w.envoy.accepted()
			w.admin.problem("/legacy/wiki", "traefik.")
		})
	}
}

// asExpected sends the request of a line such as "GET http://a.test/ X-A=1 => 200 /app", and compares the answer.
func (w *world) asExpected(line string) error {
	asked, want, _ := strings.Cut(line, " => ")
	method, rest, _ := strings.Cut(asked, " ")
	url, headers, _ := strings.Cut(rest, " ")
	host := strings.Split(url, "/")[2]
	req, err := http.NewRequest(method, strings.Replace(strings.ToLower(url[:len("https://")+len(host)]), ".org.", ".org", 1)+url[len("https://")+len(host):], nil)
	if err != nil {
		return err
	}
	req.Host = strings.TrimSuffix(host, "/")
	for header := range strings.FieldsSeq(headers) {
		name, value, _ := strings.Cut(header, "=")
		req.Header.Set(name, strings.ReplaceAll(value, "_", " "))
	}
	a, err := w.clients.ask(w.clients.client(false), req)
	if err != nil {
		return err
	}
	got := fmt.Sprint(a.status)
	if app := a.header.Get("X-App"); app != "" {
		got += " " + app
	}
	if location := a.header.Get("Location"); location != "" {
		got += " " + location
	}
	switch more := strings.TrimPrefix(want, got+" "); {
	case got == want:
		return nil
	case more == want:
	case strings.Contains(more, ": "):
		name, value, _ := strings.Cut(more, ": ")
		if got += " " + name + ": " + a.header.Get(name); a.header.Get(name) == value {
			return nil
		}
	default:
		if got += " " + w.clients.echoed(a).Request; got == want+" HTTP/1.1" {
			return nil
		}
	}
	return fmt.Errorf("got %s", got)
}
