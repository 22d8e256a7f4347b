package web

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
	"relay/statuspage"
)

// internal begins each text that is not for the public.
const internal = "INTERNAL"

// mark fills all texts of a value, so that each can be found again.
func mark(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s-%s 10.11.12.13 %s", internal, name, hostile))
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.Type != reflect.TypeFor[time.Time]() {
				mark(v.Field(i), name+"."+field.Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			mark(v.Index(i), name)
		}
	}
}

// hostileProbes are what a place says whose apps, domains, Envoys and errors have hostile names. How they are is given.
func hostileProbes(success, skipped bool) api.Probes {
	var probes api.Probes
	mark(reflect.ValueOf(&probes).Elem(), "probes")
	probes.Page = api.Page{}
	probes.Probes = nil
	probes.Time, probes.Interval = time.Now(), 15
	for i := range 20 {
		var p api.Probe
		mark(reflect.ValueOf(&p).Elem(), "probe")
		p.ID = fmt.Sprint(internal, i)
		p.Success, p.Time, p.Since = success, time.Now(), time.Now().Add(-time.Hour)
		p.Port, p.Status = 31847, 599
		if !skipped {
			p.Skipped = ""
		}
		probes.Probes = append(probes.Probes, p)
	}
	return probes
}

// Whatever places say, and however services are for it, no text of it gets to the public: only what the settings name.
func TestNothingInternalIsShown(t *testing.T) {
	t.Parallel()
	settings, err := statuspage.ParseSettings([]byte(`
title: Example
services:
- {name: Everything, domains: ["*"]}
- {name: By app, apps: ["*"], fleets: ["` + internal + `*"]}
- {name: By name, probes: ["` + internal + `*"]}
- {name: Nothing, domains: [none.example.com]}
places:
- {name: ` + internal + `-place, url: "http://127.0.0.1:1"}
`))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var success, skipped, failing atomic.Bool
		m := statuspage.New(statuspage.Config{Settings: settings, Log: slog.New(slog.DiscardHandler), Own: func(context.Context) (api.Probes, error) {
			var err error
			if failing.Load() {
				err = fmt.Errorf("%s 10.11.12.13", internal)
			}
			return hostileProbes(success.Load(), skipped.Load()), err
		}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Serve(ctx) }()
		seen := make(map[statuspage.State]bool)
		for range 4 {
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			view := m.View()
			for _, s := range view.Services {
				seen[s.State] = true
			}
			p := pageOf(t, view)
			for name := range *p.content.Load() {
				for _, encoding := range []string{"", "gzip"} {
					holdsNothing(t, p, "/"+name, encoding)
				}
			}
			holdsNothing(t, p, "/"+internal, "")
			switch {
			case !success.Load():
				success.Store(true)
			case !skipped.Load():
				skipped.Store(true)
			default:
				failing.Store(true)
			}
		}
		if !seen[statuspage.Down] || !seen[statuspage.Up] || !seen[statuspage.Unknown] {
			t.Errorf("only these states were seen: %v", seen)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// holdsNothing looks for internals in an answer and its headers.
func holdsNothing(t *testing.T, p *Page, path, encoding string) {
	t.Helper()
	r := ask(t, p, "GET", path, "Accept-Encoding", encoding)
	text := body(t, r)
	if encoding == "gzip" {
		text = unpack(t, text)
	}
	for name, values := range r.Header {
		text += name + strings.Join(values, " ")
	}
	for _, secret := range []string{internal, "10.11.12.13", "127.0.0.1", "none.example.com", "31847", "599", "alert("} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s has %q: %.100q", path, secret, text[max(0, at-40):])
		}
	}
}

// The page of the hostile texts has no tag or attribute but those of the templates, and no script.
func TestHostileTextsStayTexts(t *testing.T) {
	t.Parallel()
	for name, file := range rendered(t, hostileView()) {
		if strings.HasSuffix(name, ".html") {
			for _, bad := range []string{"<script", "<img", "<svg/", "onerror=alert(2)>", `href="javascript`, "<textarea"} {
				if bytes.Contains(bytes.ToLower(file.Body), []byte(bad)) {
					t.Errorf("%s has %s", name, bad)
				}
			}
		}
		if strings.Contains(name, "..") || strings.Count(name, "/") > 1 || !slices.Contains([]string{"index.html", "feed.atom", "feed.rss", "status.json"}, name) && !strings.HasPrefix(name, "incidents/") {
			t.Errorf("an id made the file %q", name)
		}
	}
}
