package collator

import (
	"maps"

	"relay/certs"
	"relay/sources"
)

var (
	_ sources.CauseSink = (*Collator)(nil)
	_ certs.CauseSink   = (*Collator)(nil)
)

// causes are why sources said what they did, in words.
type causes struct {
	// sync is that of the complete read of apps, and apps are those of what came after it, by id.
	sync string
	apps map[string]string
	// certificates are by source.
	certificates map[string]string
}

// synced notes why all apps were read. It takes the place of what was noted before.
func (c *causes) synced(cause string) { c.sync, c.apps = cause, nil }

// updated notes why some apps were read.
func (c *causes) updated(cause string, set []*sources.App, removed []string) {
	if c.apps == nil {
		c.apps = make(map[string]string, len(set)+len(removed))
	}
	for _, app := range set {
		if app != nil {
			c.apps[app.ID] = cause
		}
	}
	for _, id := range removed {
		c.apps[id] = cause
	}
}

func (c *causes) certificatesRead(source, cause string) {
	if c.certificates == nil {
		c.certificates = make(map[string]string)
	}
	c.certificates[source] = cause
}

// merge adds what was noted later.
func (c *causes) merge(later causes) {
	if later.sync != "" {
		c.synced(later.sync)
	}
	c.apps = mergeTexts(c.apps, later.apps)
	c.certificates = mergeTexts(c.certificates, later.certificates)
}

func mergeTexts(a, b map[string]string) map[string]string {
	if a == nil {
		return b
	}
	maps.Copy(a, b)
	return a
}

// ofApp returns why an app was read.
func (c *causes) ofApp(id string) string {
	if cause := c.apps[id]; cause != "" {
		return cause
	}
	return c.sync
}

// AppsBecause implements sources.CauseSink.
func (c *Collator) AppsBecause(cause string) {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	c.inbox.appsCause = cause
}

// CertificatesBecause implements certs.CauseSink.
func (c *Collator) CertificatesBecause(source, cause string) {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	c.inbox.certificatesCauses[source] = cause
}

// takeAppsCause returns why apps were read. The caller holds the lock.
func (n *inbox) takeAppsCause() string {
	cause := n.appsCause
	if n.appsCause = ""; cause == "" {
		return "apps were read"
	}
	return cause
}
