package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProbesConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "probes.yaml")
	if err := os.WriteFile(file, []byte("place: from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		probes Probes
		place  string
		err    string
	}{
		{Probes{}, "", ""},
		{Probes{File: file}, "", "with --probes only"},
		{Probes{Place: "here"}, "", "with --probes only"},
		{Probes{Enabled: true, Place: "a b"}, "", "--probe-place"},
		{Probes{Enabled: true, File: file}, "from-file", ""},
		{Probes{Enabled: true, File: file, Place: "given"}, "given", ""},
		{Probes{Enabled: true, File: file + ".none"}, "", "--probe-file"},
	} {
		err := tt.probes.validate()
		if err == nil && tt.probes.Enabled {
			s, failed := tt.probes.settings()
			if err = failed; err == nil && s.Place != tt.place {
				t.Errorf("%+v: the place is %q", tt.probes, s.Place)
			}
		}
		if got := ""; err != nil {
			if got = err.Error(); tt.err == "" || !strings.Contains(got, tt.err) {
				t.Errorf("%+v: %q", tt.probes, got)
			}
		} else if tt.err != "" {
			t.Errorf("%+v is taken", tt.probes)
		}
	}
	for host, want := range map[string]string{"edge-1.test": "edge-1.test", "a b/c": "a-b-c", "": "here"} {
		if got := placeName(host); got != want {
			t.Errorf("%q is the place %q", host, got)
		}
	}
}

// What would be open to others by mistake is refused.
func TestProbeProgramConfig(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config ProbeConfig
		err    string
	}{
		"no port":           {ProbeConfig{}, ""},
		"loopback":          {ProbeConfig{Port: AdminPort{Address: "127.0.0.1:9116"}}, ""},
		"open to all":       {ProbeConfig{Port: AdminPort{Address: "0.0.0.0:9116"}}, "reachable beyond this machine"},
		"a token in clear":  {ProbeConfig{Port: AdminPort{Address: "0.0.0.0:9116", TokenFile: "t"}}, "reachable beyond this machine"},
		"guarded":           {ProbeConfig{Port: AdminPort{Address: "0.0.0.0:9116", TokenFile: "t", TLS: PortTLS{CertFile: "c", KeyFile: "k"}}}, ""},
		"meant":             {ProbeConfig{Port: AdminPort{Address: "0.0.0.0:9116", Open: true}}, ""},
		"a token for none":  {ProbeConfig{Port: AdminPort{TokenFile: "t"}}, "with --listen only"},
		"no address":        {ProbeConfig{Port: AdminPort{Address: "9116"}}, "--listen"},
		"a page of nothing": {ProbeConfig{StatusPage: StatusPage{Dir: "/tmp"}}, "--status-page-file"},
	} {
		err := tt.config.Validate()
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
	}
}
