package routing

import (
	"testing"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	f := Fleet{ExternalCA: []byte("x"), ExternalHosts: []string{"keys.internal:8080", "10.0.0.7:80", "10.0.0.8:443"}}
	for url, want := range map[string]string{
		"https://login.test/keys?a=b":      "external/https/login.test:443/keys?a=b",
		"https://LOGIN.test.:8443":         "external/https/login.test:8443/",
		"https://login.test/%6aeys/../x":   "external/https/login.test:443/%6aeys/../x",
		"http://keys.internal:8080/a":      "external/http/keys.internal:8080/a",
		"http://10.0.0.7/":                 "external/http/10.0.0.7:80/",
		"https://10.0.0.8/":                "external/https/10.0.0.8:443/",
		"http://login.test/keys":           "",
		"http://keys.internal/a":           "",
		"http://169.254.169.254/latest":    "",
		"https://169.254.169.254/latest":   "",
		"https://[::1]/":                   "",
		"https://[::ffff:10.0.0.8]/":       "external/https/10.0.0.8:443/",
		"https://[fe80::1%25eth0]/":        "",
		"https://2130706433/":              "",
		"https://0x7f.1/":                  "",
		"https://0x7f000001/":              "",
		"https://user:secret@login.test/":  "",
		"https://login.test/#keys":         "",
		"https://login.test:0/":            "",
		"https://login.test:65536/":        "",
		"https://login.test:/":             "",
		"https://*.login.test/":            "",
		"https:login.test":                 "",
		"//login.test":                     "",
		"ftp://login.test/":                "",
		"https://":                         "",
		"https://login.test\n/":            "",
		"https://login.test/\r\nX-Evil: 1": "",
		"unix:///run/secret":               "",
		"https://login.test/a b":           "external/https/login.test:443/a%20b",
		"https://login.test?keys":          "external/https/login.test:443/?keys",
		"https://login.test\\@10.0.0.1/":   "",
	} {
		e, path, reason := f.Ask(url)
		got := ""
		if reason == "" {
			got = e.Cluster() + path
		}
		if got != want {
			t.Errorf("%q is %q (%s), want %q", url, got, reason, want)
		}
	}
	if _, _, reason := (&Fleet{UpstreamCA: []byte("x")}).Ask("https://login.test/"); reason == "" {
		t.Error("a host is asked that nobody verifies")
	}
	if _, _, reason := (&Fleet{ExternalCA: []byte("x"), ClustersOnDemand: true}).Ask("https://login.test/"); reason == "" {
		t.Error("a host is asked whose cluster no Envoy loads")
	}
	for host, good := range map[string]bool{"keys.internal:8080": true, "10.0.0.7:80": true, "[::1]:80": true, "keys.internal": false, "http://a.test:1": false, "Keys.internal:80": false, "a.test:1/x": false, "": false} {
		if err := (&Fleet{ExternalHosts: []string{host}}).checkExternal(); (err == nil) != good {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func FuzzExternalOf(f *testing.F) {
	for _, url := range []string{"https://login.test/keys", "http://[::1]:80/?a", "https://a.test:0x1/", "https://a@b.test/"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		e, path, err := ExternalOf(url)
		if err != nil {
			return
		}
		again, samePath, err := ExternalOf(e.Scheme + "://" + e.Authority() + path)
		if err != nil || again != e || samePath != path {
			t.Errorf("%q is %v %q, and that is %v %q, %v", url, e, path, again, samePath, err)
		}
	})
}
