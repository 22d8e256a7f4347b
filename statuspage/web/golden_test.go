package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/statuspage"
)

var updateGolden = flag.Bool("update", false, "write the golden files")

var styleHash = regexp.MustCompile(`sha256-[A-Za-z0-9/=+&#;]*=`)

func rendered(t testing.TB, v statuspage.View) Content {
	t.Helper()
	content, err := Render(v, nil)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestGolden holds the files of the samples as somebody looked at them.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]statuspage.View{"trouble": troubleView(), "new": newView()} {
		content := rendered(t, view)
		for path, file := range content {
			golden := filepath.Join("testdata", name, strings.ReplaceAll(path, "/", "_"))
			// The style has a file of its own.
			got := bytes.ReplaceAll(file.Body, []byte(style), []byte("…"))
			got = styleHash.ReplaceAll(got, []byte("sha256-…"))
			if *updateGolden {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not as it was (%v): run go test ./statuspage/web -update, and look at the difference", golden, err)
			}
		}
		files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
		if err != nil || len(files) != len(content) {
			t.Errorf("%d golden files of %s, %d files are rendered (%v)", len(files), name, len(content), err)
		}
	}
}

// A file that did not change is the same one, and one minute is the same as long as it lasts.
func TestRenderKeepsWhatIsTheSame(t *testing.T) {
	t.Parallel()
	before := rendered(t, troubleView())
	later := troubleView()
	later.Time = later.Time.Add(10 * time.Second)
	same, err := Render(later, before)
	if err != nil || !maps.Equal(same, before) {
		t.Errorf("within a minute files changed: %v", err)
	}
	later.Time = later.Time.Add(time.Minute)
	after, err := Render(later, before)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for name := range after {
		if after[name] != before[name] {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	if !slices.Equal(changed, []string{"index.html", "status.json"}) {
		t.Errorf("a minute later these changed: %v", changed)
	}
}

// What programs read is a View again, and its lists are never null.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, view := range []statuspage.View{troubleView(), newView(), {}} {
		body := rendered(t, view)["status.json"].Body
		var got statuspage.View
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(body, []byte("null")) || got.Title != view.Title || len(got.Services) != len(view.Services) || !got.Time.Equal(view.Time.Truncate(time.Minute)) {
			t.Errorf("%s", body)
		}
	}
}

// A view is shared by all who read it.
func TestRenderModifiesNothing(t *testing.T) {
	t.Parallel()
	view := troubleView()
	before, _ := json.Marshal(view)
	rendered(t, view)
	if after, _ := json.Marshal(view); !bytes.Equal(before, after) {
		t.Error("the view was modified")
	}
}

// BenchmarkRender is what each change costs: 100 services with trouble, which are the most that settings may have, and 30 incidents.
func BenchmarkRender(b *testing.B) {
	v := troubleView()
	for len(v.Services) < 100 {
		v.Services = append(v.Services, troubleView().Services...)
	}
	for i := range 30 {
		one := v.Incidents[i%3]
		one.ID = fmt.Sprint("incident-", i)
		v.Incidents = append(v.Incidents, one)
	}
	var content Content
	for b.Loop() {
		v.Time = v.Time.Add(time.Minute) // so that the first page is another one, and the others are not
		var err error
		if content, err = Render(v, content); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(content["index.html"].Body)), "bytes")
	b.ReportMetric(float64(len(content["index.html"].Gzip)), "gzip-bytes")
}
