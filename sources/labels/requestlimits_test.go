package labels

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

func TestRequestLimits(t *testing.T) {
	t.Parallel()
	hundred := sources.Rate{Requests: 100, Burst: 100, Per: time.Second}
	perClient := func(r sources.Rate, header string) *sources.RequestLimits {
		return &sources.RequestLimits{PerClient: &sources.ClientRate{Rate: r, Header: header}}
	}
	for _, c := range []struct {
		name, value string
		want        *sources.RequestLimits
		problem     string
	}{
		{"RATE_LIMIT", "100/s", &sources.RequestLimits{Rate: &hundred}, ""},
		{"RATE_LIMIT", " 5/M  Burst 1 ", &sources.RequestLimits{Rate: &sources.Rate{Requests: 5, Burst: 1, Per: time.Minute}}, ""},
		{"RATE_LIMIT", "1/d burst 10000000", &sources.RequestLimits{Rate: &sources.Rate{Requests: 1, Burst: 10_000_000, Per: 24 * time.Hour}}, ""},
		{"RATE_LIMIT", "", nil, ""},
		{"RATE_LIMIT", "0/s", nil, "so there is no limit"},
		{"RATE_LIMIT", "1000001/s", nil, "so there is no limit"},
		{"RATE_LIMIT", "-1/s", nil, "so there is no limit"},
		{"RATE_LIMIT", "1.5/s", nil, "so there is no limit"},
		{"RATE_LIMIT", "100", nil, "so there is no limit"},
		{"RATE_LIMIT", "100/w", nil, "so there is no limit"},
		{"RATE_LIMIT", "100/s burst", nil, "so there is no limit"},
		{"RATE_LIMIT", "100/s burst 0", nil, "so there is no limit"},
		{"RATE_LIMIT", "100/s by header x", nil, "so there is no limit"},
		{"RATE_LIMIT_PER_CLIENT", "100/s", perClient(hundred, ""), ""},
		{"RATE_LIMIT_PER_CLIENT", "100/s by header X-Api-Key", perClient(hundred, "x-api-key"), ""},
		{"RATE_LIMIT_PER_CLIENT", "100/s burst 7 by header X-Api-Key", perClient(sources.Rate{Requests: 100, Burst: 7, Per: time.Second}, "x-api-key"), ""},
		{"RATE_LIMIT_PER_CLIENT", "100/s by header", nil, "so there is no limit"},
		{"RATE_LIMIT_PER_CLIENT", "100/s by header a:b", nil, "is not the name of a header"},
		{"RATE_LIMIT_PER_CLIENT", "100/s by header host", nil, "not for apps to change"},
		{"MAX_REQUEST_BODY", "10MB", &sources.RequestLimits{MaxBody: 10 << 20}, ""},
		{"MAX_REQUEST_BODY", "5 gb", &sources.RequestLimits{MaxBody: 5 << 30}, ""},
		{"MAX_REQUEST_BODY", "7", &sources.RequestLimits{MaxBody: 7}, ""},
		{"MAX_REQUEST_BODY", "0", nil, "no limit of its own"},
		{"MAX_REQUEST_BODY", "999999999999999GB", nil, "no limit of its own"},
		{"MAX_REQUEST_BODY", "10MiB", nil, "no limit of its own"},
		{"MAX_REQUEST_HEADERS", "16kB", &sources.RequestLimits{MaxHeaders: 16 << 10}, ""},
		{"MAX_REQUEST_HEADERS", "61kB", nil, "from 1kB to 60kB"},
		{"MAX_REQUEST_HEADERS", "1000", nil, "from 1kB to 60kB"},
	} {
		s := NewSettings()
		s.Set(c.name, c.value)
		h, _, problems := s.Finish()
		var got *sources.RequestLimits
		if h != nil {
			got = h.RequestLimits
		}
		var reasons []string
		for _, p := range problems {
			reasons = append(reasons, p.Reason)
		}
		if !reflect.DeepEqual(got, c.want) || (c.problem == "") != (len(problems) == 0) || !strings.Contains(strings.Join(reasons, "; "), c.problem) {
			t.Errorf("%s=%q: %+v, problems %v; want %+v, %q", c.name, c.value, got, reasons, c.want, c.problem)
		}
		if h != nil && h.Closed {
			t.Errorf("%s=%q closes the port: a limit keeps nobody from what is not for them", c.name, c.value)
		}
	}
}

// TestStreamsHaveNoSize holds that bodies of gRPC are not bounded where the app speaks it, and are elsewhere.
func TestStreamsHaveNoSize(t *testing.T) {
	t.Parallel()
	for _, http2 := range []string{"true", "false"} {
		s := NewSettings()
		s.Set("MAX_REQUEST_BODY", "1MB")
		s.Set("HTTP2", http2)
		if h, _, _ := s.Finish(); h.RequestLimits.Streams != (http2 == "true") {
			t.Errorf("HTTP2=%s: %+v", http2, h.RequestLimits)
		}
	}
}

func FuzzRequestLimits(f *testing.F) {
	for _, value := range []string{"100/s burst 200", "10/s by header X-Api-Key", "10MB", "16kB", "1/d", "/", "1//s"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, l := range requestLimitLabels {
			s := NewSettings()
			l := l
			_, l.name, _ = strings.Cut(l.Key, "{n}_")
			s.Set(l.name, value)
			h, _, _ := s.Finish()
			if h == nil || h.RequestLimits == nil {
				continue
			}
			limits := h.RequestLimits
			rates := []sources.Rate{}
			if limits.Rate != nil {
				rates = append(rates, *limits.Rate)
			}
			if limits.PerClient != nil {
				rates = append(rates, limits.PerClient.Rate)
			}
			for _, r := range rates {
				if r.Requests == 0 || r.Requests > maxRate || r.Burst == 0 || r.Burst > maxBurst || r.Per < time.Second || r.Pause() <= 0 {
					t.Errorf("%s=%q: %+v", l.name, value, r)
				}
			}
			if limits.MaxBody < 0 || limits.MaxBody > maxBody || limits.MaxHeaders < 0 || limits.MaxHeaders > maxHeaders {
				t.Errorf("%s=%q: %+v", l.name, value, limits)
			}
		}
	})
}
