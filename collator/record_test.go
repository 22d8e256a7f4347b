package collator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/history"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// recordedTest is a Collator with a history, whose publishers are stores.
func recordedTest(t *testing.T, fleets ...routing.Fleet) (*Collator, *history.History) {
	t.Helper()
	h := history.New(func(string, []uint64, int) map[uint64][]string { return nil })
	c, _ := newTest(t, Config{History: h, CertificateSources: []string{"vault"}, Fleets: fleets})
	for _, f := range c.fleets {
		f.publisher = xds.NewStore()
	}
	return c, h
}

func told(changes []history.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s: %q for %d %v and %v: %s", c.Fleet, c.Cause, c.AppCount, c.Apps, c.Certificates, strings.Join(c.What, "|")))
	}
	return strings.Join(all, "\n")
}

// Each change is told with what caused it and what differed, of the fleets and apps that it concerns.
func TestRecorded(t *testing.T) {
	t.Parallel()
	internal := testFleet()
	internal.Name = "internal"
	c, h := recordedTest(t, testFleet(), internal)
	web, other := webApp("/web", "web.test"), webApp("/other", "other.test")
	seen := uint64(0)
	step := func(what string, do func(), want ...string) {
		t.Helper()
		do()
		c.round()
		changes := h.Since(seen, 100)
		if len(changes) > 0 {
			seen = changes[len(changes)-1].ID
		}
		if got := told(changes); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
		}
	}
	because := func(cause string, apps ...*sources.App) func() {
		return func() {
			sources.Because(c, cause)
			c.UpdateApps(apps, nil)
		}
	}
	scaled := changed(web, func(p *sources.Port) { p.Endpoints = endpoints("10.0.0.1:31000", "10.0.0.9:1") })
	certify := func(content string) func() {
		return func() {
			certs.Because(c, "vault", "Vault: poll")
			c.SyncCertificates("vault", []*certs.Certificate{certificate("web.test", content, "web.test")}, nil)
		}
	}
	step("at first", func() { sources.Because(c, "all read"); c.SyncApps([]*sources.App{web, other}) },
		`external: "start" for 2 [/other /web] and []: /other: new app|/other: domain other.test added|/other: port 0: of fleet external|/other: port 0: +10.0.0.1:31000|/web: new app|/web: domain web.test added|/web: port 0: of fleet external|/web: port 0: +10.0.0.1:31000`,
		`internal: "start" for 0 [] and []: `)
	step("certificates", certify("1"),
		`external: "start: certificates were read" for 0 [] and [web.test]: certificate web.test added, valid until 2026-07-30`,
		`internal: "start: certificates were read" for 0 [] and [web.test]: certificate web.test added, valid until 2026-07-30`)
	step("renewed", certify("2"),
		`external: "Vault: poll" for 0 [] and [web.test]: certificate web.test renewed: valid until 2026-07-30, before until 2026-07-30`,
		`internal: "Vault: poll" for 0 [] and [web.test]: certificate web.test renewed: valid until 2026-07-30, before until 2026-07-30`)
	step("nothing new", because("event", web))
	step("scaled", because("event", scaled), `external: "event" for 1 [/web] and []: port 0: +10.0.0.9:1`)
	step("two at once", func() {
		because("one event", web)()
		because("another event", changed(other, func(p *sources.Port) { p.Endpoints = nil }))()
	}, `external: "another event, and 1 more" for 2 [/other /web] and []: /other: port 0: -10.0.0.1:31000|/web: port 0: -10.0.0.9:1`)
	if all := h.OfApp("/web"); all[0].Cause != "one event" || !slices.Equal(all[0].What, []string{"port 0: -10.0.0.9:1"}) {
		t.Errorf("of one app: %+v", all[0])
	}
	step("without a cause", func() { c.UpdateApps([]*sources.App{scaled}, nil) }, `external: "apps were read" for 1 [/web] and []: port 0: +10.0.0.9:1`)
	step("followed", func() { c.Tail("/web", true); c.Tail("other.test", true) })
	step("followed, and scaled", func() { c.Tail("other.test", false); because("event", web)() }, `external: "event" for 1 [/web] and []: port 0: -10.0.0.9:1`)
	step("scaled while it is followed", because("event", scaled), `external: "event" for 1 [/web] and []: port 0: +10.0.0.9:1`)
	step("not followed any more", func() { c.Tail("/web", false) })
	step("removed", func() { sources.Because(c, "event"); c.UpdateApps(nil, []string{"/web"}) },
		`external: "event" for 1 [/web] and []: app removed|domain web.test removed|port 0: of fleet external no more|port 0: -10.0.0.1:31000 -10.0.0.9:1`)
	step("keys of tickets", func() { c.SetTicketKeys("internal", []TicketKey{[]byte("k")}) },
		`internal: "keys of session tickets or authorities of clients were read again" for 0 [] and []: `)
}

// What the last change of an app changed is kept, but no secret, and nothing of a storm.
func TestRecordedBodies(t *testing.T) {
	t.Parallel()
	c, h := recordedTest(t)
	c.SyncCertificates("vault", []*certs.Certificate{certificate("web.test", "1", "web.test")}, nil)
	web := webApp("/web", "web.test")
	syncApps(c, web, webApp("/other", "other.test"))
	if d := h.Diffs("/web"); len(d) != 1 || d[0].Known {
		t.Errorf("at the start: %+v", d)
	}
	names := func(app string) string {
		var all []string
		for _, b := range h.Diffs(app)[0].Bodies {
			all = append(all, fmt.Sprintf("%s %t %t", quoted(b.Key), b.Before != nil, b.After != nil))
		}
		return strings.Join(all, ", ")
	}
	c.SyncCertificates("vault", []*certs.Certificate{certificate("web.test", "2", "web.test")}, nil)
	updateApps(c, changed(web, func(p *sources.Port) { p.Endpoints, p.Domains = nil, []string{"new.test"} }), webApp("/third", "third.test"))
	if got, want := names("/web"), `endpoints "/web_0" true true, secrets "vault/web.test" false false, scopes "new.test" false true, scopes "web.test" true false`; got != want {
		t.Errorf("/web: %s, want %s", got, want)
	}
	if got, want := names("/third"), `clusters "/third_0" false true, endpoints "/third_0" false true, secrets "vault/web.test" false false, scopes "third.test" false true`; got != want {
		t.Errorf("/third: %s, want %s", got, want)
	}
	var storm []*sources.App
	for i := range maxDetailed + 1 {
		storm = append(storm, webApp(fmt.Sprint("/storm-", i), fmt.Sprintf("storm-%d.test", i)))
	}
	updateApps(c, storm...)
	d := h.Diffs("/storm-7")
	if len(d) != 1 || d[0].Known || len(d[0].Change.Apps) > 20 || d[0].Change.AppCount != maxDetailed+1 || d[0].Change.What[0] != "one of 1001 apps that came or changed at once" {
		t.Errorf("in a storm: %+v", d)
	}
}

// A round that fails loses no history.
func TestRecordedAfterAPanic(t *testing.T) {
	t.Parallel()
	c, h := recordedTest(t)
	web := webApp("/web", "web.test")
	syncApps(c, web)
	f := &fragile{recorder: newRecorder(), before: fuse{left: 1}}
	store := c.fleets[0].publisher
	c.fleets[0].publisher = f
	func() {
		defer func() { _ = recover() }()
		sources.Because(c, "event")
		updateApps(c, changed(web, func(p *sources.Port) { p.Endpoints = nil }))
		t.Error("it did not panic")
	}()
	c.fleets[0].publisher = store
	c.reindex()
	c.round()
	if got, want := told(h.Last(1, 0)), `external: "event" for 1 [/web] and []: port 0: -10.0.0.1:31000`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
