package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"relay/certs"
	"relay/internal/hostname"
)

// maxName is the length of the longest domain name.
const maxName = 253

// liveEntry is what "live" says about one name: which version of the
// certificate's entry to serve, and what to expect in it.
type liveEntry struct {
	Version     int      `json:"version"`
	Fingerprint string   `json:"fingerprint"`
	DNSNames    []string `json:"dns_names"`
}

// same says whether both entries speak of the same certificate.
func (e liveEntry) same(other liveEntry) bool {
	return e.Version == other.Version && e.Fingerprint == other.Fingerprint
}

// liveParser decodes "live". It remembers what it decoded: of thousands of
// values few change from one read to the next.
type liveParser struct {
	known map[string]parsedLive
}

// parsedLive is a value of "live" and what it means.
type parsedLive struct {
	raw   json.RawMessage
	entry liveEntry
	err   error
}

// parse decodes the values of "live": JSON in a string, as marathon-acme writes
// it, or the object itself. Only values that are neither are left out; their
// reasons are in bad.
func (p *liveParser) parse(data map[string]json.RawMessage) (good map[string]liveEntry, bad map[string]string) {
	good, bad = make(map[string]liveEntry, len(data)), make(map[string]string)
	known := make(map[string]parsedLive, len(data))
	for name, value := range data {
		parsed, ok := p.known[name]
		if !ok || !bytes.Equal(parsed.raw, value) {
			parsed.entry, parsed.err = parseLiveEntry(name, value)
		}
		// All slices are of one answer; an old one would keep its whole answer.
		parsed.raw = value
		known[name] = parsed
		if parsed.err != nil {
			bad[name] = parsed.err.Error()
		} else {
			good[name] = parsed.entry
		}
	}
	p.known = known
	return good, bad
}

func parseLiveEntry(name string, value json.RawMessage) (liveEntry, error) {
	var entry liveEntry
	if err := checkName(name); err != nil {
		return entry, err
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		value = json.RawMessage(text)
	}
	if err := json.Unmarshal(value, &entry); err != nil {
		return entry, errors.New(`the value in live is not {"version", "fingerprint", "dns_names"} in JSON`)
	}
	if entry.Version < 1 {
		return entry, errors.New("the value in live has no version")
	}
	entry.Fingerprint = strings.ToLower(entry.Fingerprint)
	return entry, nil
}

// checkName refuses names that would lead the request to another path.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || strings.Contains(name, "..") || strings.Contains(name, "/"):
		return errors.New("the name in live is not one path segment")
	case len(name) > maxName:
		return fmt.Errorf("the name in live is longer than %d bytes", maxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("the name in live has control characters")
	}
	return nil
}

// parseCertificate makes a certificate of the fields that marathon-acme
// writes: privkey, cert and chain; of those that Praekelt's Relay read: key and
// cert_chain; or of any mix.
func parseCertificate(data map[string]json.RawMessage) (*certs.Certificate, []string, error) {
	c, notes, err := parseFields(data)
	if err != nil {
		err = fmt.Errorf("%w%s", err, unreadFields(data))
	}
	return c, notes, err
}

// certificateFields are the fields that are read.
var certificateFields = []string{"privkey", "key", "cert", "cert_chain", "chain"}

// unreadFields names the other fields of an entry: one of them may have been meant.
func unreadFields(data map[string]json.RawMessage) string {
	const shown, length = 5, 40
	var unread []string
	for _, field := range slices.Sorted(maps.Keys(data)) {
		if !slices.Contains(certificateFields, field) {
			unread = append(unread, fmt.Sprintf("%.*q", length, field))
		}
	}
	if len(unread) == 0 {
		return ""
	}
	text := "; not read are its fields " + strings.Join(unread[:min(len(unread), shown)], ", ")
	if more := len(unread) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func parseFields(data map[string]json.RawMessage) (*certs.Certificate, []string, error) {
	var bundle []byte
	for _, field := range certificateFields {
		value, ok := data[field]
		if !ok {
			continue
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			return nil, nil, fmt.Errorf("the field %q is not a string", field)
		}
		bundle = append(append(bundle, text...), '\n')
	}
	if len(bundle) == 0 {
		return nil, nil, errors.New("the entry has none of the fields privkey, cert and chain")
	}
	return certs.ParsePEM(bundle)
}

// crossCheck compares a certificate with what "live" says of it. The
// certificate is right; a difference is worth a look.
func crossCheck(name string, c *certs.Certificate, entry liveEntry) []string {
	var notes []string
	if entry.Fingerprint != "" && entry.Fingerprint != c.Fingerprint {
		notes = append(notes, fmt.Sprintf("live expects the fingerprint %.16s…, the certificate has %.16s…", entry.Fingerprint, c.Fingerprint))
	}
	if !covers(c, name) && !c.Default {
		notes = append(notes, "the certificate does not cover the name it is stored under")
	}
	for _, expected := range entry.DNSNames {
		if !covers(c, expected) && expected != "*" {
			notes = append(notes, fmt.Sprintf("live says that the certificate covers %.80q, but it does not", expected))
			break
		}
	}
	return notes
}

func covers(c *certs.Certificate, name string) bool {
	serverName, err := hostname.ServerName(name)
	return err == nil && slices.Contains(c.ServerNames, serverName)
}
