package certs

// AuthorityKeeper is an AuthoritySink that saved what a source had in an earlier run of Relay.
type AuthorityKeeper interface {
	AuthoritySink
	// SavedAuthorities returns what was saved of a source; nothing once the source has synced, for
	// then it knows better itself. It is called from the goroutine that syncs.
	SavedAuthorities(source string) []*Authority
	// AuthoritiesUnread says why a source does not sync, and what to do, in words for people. It
	// holds until the source syncs.
	AuthoritiesUnread(source, reason string)
}

// Saved returns the authorities that a sink saved of a source that has not synced; nothing from a
// sink that saves none.
func Saved(sink AuthoritySink, source string) []*Authority {
	if k, ok := sink.(AuthorityKeeper); ok {
		return k.SavedAuthorities(source)
	}
	return nil
}

// Unread tells a sink why a source does not sync, if it wants to know.
func Unread(sink AuthoritySink, source, reason string) {
	if k, ok := sink.(AuthorityKeeper); ok {
		k.AuthoritiesUnread(source, reason)
	}
}
