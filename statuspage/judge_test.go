package statuspage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// parsed reads settings that are right.
func parsed(t testing.TB, text string) Settings {
	t.Helper()
	s, err := ParseSettings([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// threeServices are called a, b and c, by their domains.
const threeServices = `
services:
  - {name: a, domains: [a.test]}
  - {name: b, domains: [b.test]}
  - {name: c, domains: [c.test]}
`

// said is an observation of probes, a letter for each: "a+" was answered, "a-" failed again and again, "a!" failed once, "a?" too but was chosen by chance,
// "a~" was slow, "al" was later than it should again and again, "az" sleeps, "ao" is old.
func said(place, text string) observation {
	o := observation{place: place, at: noon, interval: 30 * time.Second, away: text == "away"}
	if o.away {
		return o
	}
	for i, word := range strings.Fields(text) {
		p := seenProbe{ID: fmt.Sprint(i), Name: word[:1] + ".test", Domain: word[:1] + ".test", Fleet: "external", Time: noon.Add(-time.Second), Since: noon.Add(-time.Hour), Success: true, Duration: 0.1}
		switch word[1] {
		case '-':
			p.Success = false
		case '!', '?':
			p.Success, p.Since, p.Sampled = false, p.Time, word[1] == '?'
		case '~':
			p.Duration = 3
		case 'l':
			p.Success, p.Late = false, true
		case 'z':
			p.Success, p.Skipped = false, "the app sleeps"
		case 'o':
			p.Success, p.Time = false, noon.Add(-10*time.Minute)
		}
		o.probes = append(o.probes, p)
	}
	return o
}

func judged(s Settings, observations ...observation) (states string, blind []string) {
	var selectors []selector
	for _, service := range s.Services {
		selectors = append(selectors, newSelector(service))
	}
	var views []placeView
	for _, o := range observations {
		views = append(views, look(o, s.Services, selectors))
	}
	j := judge(views, s.Services, make([]bool, len(views)))
	var all []string
	for i, v := range j.services {
		text := string(v.state)
		if v.keep {
			text = "keep"
		}
		all = append(all, s.Services[i].Name+" "+text)
	}
	for i, b := range j.blind {
		if b {
			blind = append(blind, observations[i].place)
		}
	}
	return strings.Join(all, ", "), blind
}

func TestJudge(t *testing.T) {
	t.Parallel()
	settings := parsed(t, threeServices)
	for _, tt := range []struct {
		name   string
		places []string
		want   string
		blind  string
	}{
		{"nobody", nil, "a unknown, b unknown, c unknown", ""},
		{"alone, all well", []string{"a+ b+ c+"}, "a up, b up, c up", ""},
		{"alone, all down: nobody says otherwise", []string{"a- b- c-"}, "a down, b down, c down", ""},
		{"alone, and it does not ask for c", []string{"a+ b-"}, "a up, b down, c unknown", ""},
		{"asleep is up", []string{"az b+ c+"}, "a up, b up, c up", ""},
		{"what is asked counts, not what sleeps beside it", []string{"a- az az az"}, "a down, b unknown, c unknown", ""},
		{"one failure may be chance", []string{"a! b+ c+"}, "a keep, b up, c up", ""},
		{"one failure among others", []string{"a! a+ b+ c+"}, "a up, b up, c up", ""},
		{"one that was chosen by chance failed", []string{"a? a+ b+ c?"}, "a up, b up, c keep", ""},
		{"two that were chosen by chance failed", []string{"a? a? a! a+ b+ c+"}, "a down, b up, c up", ""},
		{"half fails", []string{"a- a+ b+ c+"}, "a degraded, b up, c up", ""},
		{"more than half fails", []string{"a- a- a+ b+ c+"}, "a down, b up, c up", ""},
		{"one of twenty", []string{strings.Repeat("a+ ", 19) + "a- b+ c+"}, "a up, b up, c up", ""},
		{"old results say nothing", []string{"ao b+ c+"}, "a unknown, b up, c up", ""},
		{"two, one away", []string{"a- b+ c+", "away"}, "a down, b up, c up", ""},
		{"all away", []string{"away", "away"}, "a unknown, b unknown, c unknown", ""},
		{"two disagree on one service: it cannot be reached from everywhere", []string{"a- b+ c+", "a+ b+ c+"}, "a degraded, b up, c up", ""},
		{"two, one sees nothing", []string{"a- b- c-", "a+ b+ c+"}, "a up, b up, c up", "0"},
		{"two, one sees nothing since a moment", []string{"a! b! c!", "a+ b+ c+"}, "a up, b up, c up", "0"},
		{"two, one asks for nothing that the other does", []string{"a- b-", "c+"}, "a down, b down, c up", ""},
		{"two, one sees nothing of a service that is down", []string{"a- b- c-", "a- b+ c+"}, "a down, b up, c up", "0"},
		{"two, one sees nothing, and the other begins to see that too", []string{"a- b-", "a! b! c+ c+ c+"}, "a down, b down, c up", ""},
		{"three, one lies", []string{"a- b+ c+", "a+ b+ c+", "a+ b+ c+"}, "a up, b up, c up", ""},
		{"three, one sees nothing", []string{"a+ b+ c+", "a- b- c-", "a+ b+ c+"}, "a up, b up, c up", "1"},
		{"three, one sees all up while all is down", []string{"a- b- c-", "a- b- c-", "a+ b+ c+"}, "a down, b down, c down", ""},
		{"three, two see it down", []string{"a- b+ c+", "a- b+ c+", "a+ b+ c+"}, "a down, b up, c up", ""},
		{"three, one down and one degraded", []string{"a- b+ c+", "a- a+ b+ c+", "a+ b+ c+"}, "a degraded, b up, c up", ""},
		{"four, two against two", []string{"a- b- c-", "a- b- c-", "a+ b+ c+", "a+ b+ c+"}, "a degraded, b degraded, c degraded", ""},
		{"five, two see nothing", []string{"a- b- c-", "a- b- c-", "a+ b+ c+", "a+ b+ c+", "a+ b+ c+"}, "a up, b up, c up", "0 1"},
		{"five, three see nothing", []string{"a- b- c-", "a- b- c-", "a- b- c-", "a+ b+ c+", "a+ b+ c+"}, "a down, b down, c down", ""},
		{"the blind and the away leave nobody", []string{"away", "a! b! c!"}, "a keep, b keep, c keep", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var all []observation
			for i, text := range tt.places {
				all = append(all, said(fmt.Sprint(i), text))
			}
			got, blind := judged(settings, all...)
			if got != tt.want || strings.Join(blind, " ") != tt.blind {
				t.Errorf("got %s, blind %v; want %s, blind %q", got, blind, tt.want, tt.blind)
			}
			slices.Reverse(all) // the order of places means nothing
			if again, _ := judged(settings, all...); again != got {
				t.Errorf("in another order: %s", again)
			}
		})
	}
}

func TestThresholdsAndSlow(t *testing.T) {
	t.Parallel()
	settings := parsed(t, `
thresholds: {degraded: 50, down: 100}
services:
  - {name: a, domains: [a.test], slow: 2s}
  - {name: b, domains: [b.test], thresholds: {degraded: 1, down: 2}}
`)
	for text, want := range map[string]string{
		"a- a+ a+ b+":       "a up, b up",
		"a- a- a+ b+":       "a degraded, b up",
		"a- a- b- b+ b+":    "a down, b down",
		"a~ a~ b+":          "a degraded, b up", // slow is never down
		"a~ a- a+ a+ b+":    "a degraded, b up",
		"al al b+":          "a degraded, b up", // nor is what is later than its label allows
		"a- a- a- a- a~ b+": "a degraded, b up",
	} {
		if got, _ := judged(settings, said("0", text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	settings := parsed(t, `
services:
  - {name: domains, domains: ["*.Shop.test", shop.test]}
  - {name: apps, apps: ["/shop/*"]}
  - {name: fleet, fleets: [external]}
  - {name: both, fleets: [internal], domains: ["*"]}
  - {name: probes, probes: [imp-1, "external/edge-1/*"]}
  - {name: devices, probes: ["device-*", device.named.test]}
`)
	for _, tt := range []struct {
		probe seenProbe
		want  string
	}{
		{seenProbe{ID: "external/edge-1/shop.test", Name: "shop.test", Domain: "shop.test", App: "/shop/web", Fleet: "external"}, "domains apps fleet probes"},
		{seenProbe{ID: "internal/edge-2/a.b.shop.test", Name: "a.b.shop.test", Domain: "a.b.shop.test", App: "/web", Fleet: "internal"}, "domains both"},
		{seenProbe{ID: "internal/edge-2/imp-1", Name: "imp-1", Fleet: "internal"}, "probes"},
		{seenProbe{ID: "tcp/edge-3/device-1", Name: "device-1", Kind: "device", App: "/connections", Fleet: "tcp"}, "devices"},
		{seenProbe{ID: "//device-names", Name: "device-names", Kind: "dns"}, "devices"},
		// An app chose the name, and does not get among the devices by that, unless all of it is in the settings.
		{seenProbe{ID: "tcp/edge-3/device-1.evil.test", Name: "device-1.evil.test", Kind: "http", Domain: "device-1.evil.test", App: "/evil", Fleet: "tcp"}, ""},
		{seenProbe{ID: "tcp/edge-3/device.named.test", Name: "device.named.test", Kind: "http", Domain: "device.named.test", App: "/named", Fleet: "tcp"}, "devices"},
		{seenProbe{ID: "other/edge-2/shop.test.evil", Name: "shop.test.evil", Domain: "shop.test.evil", App: "/shopping", Fleet: "other"}, ""},
	} {
		var got []string
		for _, s := range settings.Services {
			if newSelector(s).selects(tt.probe) {
				got = append(got, s.Name)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %v, want %q", tt.probe.ID, got, tt.want)
		}
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "x", true}, {"a*", "a", true}, {"*a", "ba", true}, {"*a", "ab", false},
		{"a*b", "ab", true}, {"a*b", "a", false}, {"a*b", "axxb", true}, {"ab*ba", "aba", false}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"*ab*ab", "abab", true}, {"*ab*ab", "ab", false}, {"**", "x", true}, {"a**b", "ab", true},
	} {
		if got := fits(tt.pattern, tt.text); got != tt.want {
			t.Errorf("fits(%q, %q) = %t", tt.pattern, tt.text, got)
		}
	}
}

// A state gets worse at the second look, and better after a minute, to the worst state of that minute. Unknown is
// taken after a minute too, and left at once.
func TestTrack(t *testing.T) {
	t.Parallel()
	letters := map[byte]State{'u': Up, 'g': Degraded, 'd': Down, '?': Unknown, 'k': "keep"}
	for looks, want := range map[string]string{
		"u":               "u",
		"d":               "d", // at the start it is taken at once
		"ud":              "uu",
		"udd":             "uud",
		"udud":            "uuuu",
		"ugd":             "uud",
		"udkd":            "uuud", // what says nothing new is no look
		"d?u":             "ddd",  // nothing is known for a moment, such as at a restart
		"d??????u":        "dddddddd",
		"d???????u":       "ddddddd?u",
		"duuuuuuu":        "dddddddu",
		"duuuuuuduuu":     "ddddddddddd",
		"duuguuuu":        "dddddddg", // it was degraded within the minute
		"dguuuuuu":        "dddddddg",
		"dguuuuuuuuuuuuu": "dddddddgggggggu",
		"duuu??uu":        "dddddddu",
	} {
		track, got := track{state: Unknown}, ""
		for i := range looks {
			found := verdict{state: letters[looks[i]], keep: looks[i] == 'k'}
			track.next(found, noon.Add(time.Duration(i)*lookEvery))
			for letter, s := range letters {
				if s == track.state {
					got += string(letter)
				}
			}
		}
		if got != want {
			t.Errorf("looks %s: %s, want %s", looks, got, want)
		}
	}
}
