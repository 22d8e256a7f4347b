package collator

import (
	"relay/certs"
	"relay/collator/routing"
)

// setSelected takes the certificates that were selected.
func (v *coverage) setSelected(all []*certs.Certificate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.selected = all
	v.selectedChanged()
}

// selectedChanged tells those who wait that the selected certificates, or their
// use, are others. The caller holds the lock.
func (v *coverage) selectedChanged() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// SelectedCertificates returns the certificates that answer some server name or
// are the default one, ordered by source and name, with their use. The channel is
// closed when there is a newer answer.
func (c *Collator) SelectedCertificates() (selected []certs.Selected, changed <-chan struct{}) {
	v := c.coverage
	v.mu.RLock()
	defer v.mu.RUnlock()
	selected = make([]certs.Selected, len(v.selected))
	for i, certificate := range v.selected {
		selected[i] = certs.Selected{Certificate: certificate, Use: v.use(routing.SecretName(certificate))}
	}
	return selected, v.changed
}

// use returns the use of a certificate that was selected. That of one which was
// selected a moment ago is unknown until its domains have been looked up.
func (v *coverage) use(secret string) certs.Use {
	if !v.known {
		return certs.UseUnknown
	}
	if _, known := v.served.secrets[secret]; !known {
		return certs.UseUnknown
	}
	if v.uses(secret) {
		return certs.InUse
	}
	return certs.Unused
}
