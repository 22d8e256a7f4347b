package routing

import "testing"

func TestParseAccessLog(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]AccessLog{
		"": {}, "off": {}, " off ": {}, "collector": {Collector: true}, "file /var/log/a.json": {File: "/var/log/a.json"}, "file  /dev/stdout": {File: "/dev/stdout"}, "file /a b": {File: "/a b"},
	} {
		if got, err := ParseAccessLog(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"on", "file", "file a.json", "file /a/../b", "file /", "file /a/", "collector x", "off x", "file /a\nb", "File /a"} {
		if got, err := ParseAccessLog(bad); err == nil || got != (AccessLog{}) {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
