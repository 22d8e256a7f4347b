package relay

import (
	"fmt"
	"time"

	"relay/admin"
	"relay/sources/marathon"
)

type marathonSource struct{ *marathon.Watcher }

// outdatedAfter is how long Marathon may be away before what is known of the apps counts
// as outdated: to connect again, or to another leader, takes seconds.
const outdatedAfter = time.Minute

func (m marathonSource) outdated() (since time.Time) {
	s := m.Status()
	if s.Connected || s.LastSync.IsZero() || time.Since(s.Since) < outdatedAfter {
		return time.Time{}
	}
	return s.Since
}

func (m marathonSource) view() admin.SourceView {
	s := m.Status()
	v := admin.SourceView{Kind: "marathon", Name: s.URL, Connected: s.Connected, LastSync: s.LastSync, Items: s.Apps}
	if !s.Connected || s.LastErrorAt.After(s.LastSync) {
		v.LastError = s.LastError
	}
	if !s.Connected && !s.LastSync.IsZero() && s.LastError != "" {
		v.LastError = fmt.Sprintf("not followed since %s: Envoys that come from another Relay with something newer are not served (%s)",
			s.Since.UTC().Format(time.RFC3339), s.LastError)
	}
	return v
}
