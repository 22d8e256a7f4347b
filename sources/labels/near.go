package labels

import (
	"bytes"
	"cmp"
	"strings"

	"relay/sources"
)

// prefixWord is a prefix as keys are compared with it that only nearly have it.
type prefixWord struct {
	prefix string
	// folded is the prefix without its end, such as "marathon_acme", and letters are the
	// letters of that: see lettersOf.
	folded, letters string
	// slips is how many typos are looked for. A short word with more is another word.
	slips int
	// app and port have the labels of the app and those of ports, by the letters of what
	// follows the prefix.
	app, port map[string]*Label
}

const (
	// maxNameLetters is above the length of all names in prefixWord.
	maxNameLetters = 60
	// maxNearBytes is how much of a key is compared. Any label fits, but for one with a
	// very long name of a port: of that, the prefix still tells.
	maxNearBytes = 120
)

func prefixWordsOf(all []*Label) []prefixWord {
	words := make([]prefixWord, len(prefixes))
	for i, prefix := range prefixes {
		folded := string(sources.AppendFolded(nil, prefix))
		w := prefixWord{prefix: prefix, folded: folded, letters: letters(folded), slips: 2, app: map[string]*Label{}, port: map[string]*Label{}}
		if len(w.letters) < 7 {
			w.slips = 1
		}
		for _, l := range all {
			name, ours := strings.CutPrefix(l.Key, prefix)
			switch {
			case strings.HasSuffix(l.Key, "*"):
			case l.prefix == prefix && l.name != l.Key:
				w.port[letters(l.name)] = l
			case ours:
				w.app[letters(name)] = l
			}
		}
		words[i] = w
	}
	return words
}

// appendLetters appends what is left of folded text without digits and separators.
func appendLetters(dst, folded []byte) []byte {
	for _, c := range folded {
		if !isSeparator(c) && !isDigit(c) {
			dst = append(dst, c)
		}
	}
	return dst
}

func letters(text string) string {
	return string(appendLetters(nil, sources.AppendFolded(nil, text)))
}

func isSeparator(c byte) bool { return c == '_' || c == '-' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// nearKeys finds keys that nearly are for Relay. Of each key it looks at the beginning only,
// so it takes time by the number of keys.
type nearKeys struct {
	declared       []DeclaredPort
	names          map[string]string // of declared ports, by their folded form; nil until asked for
	folded, letter []byte            // buffers
}

// portNames returns the names of declared ports, by their folded form.
func (n *nearKeys) portNames() map[string]string {
	if n.names == nil {
		n.names = make(map[string]string, len(n.declared))
		for _, d := range n.declared {
			if d.Name != "" {
				n.names[string(sources.AppendFolded(nil, sources.BoundedName(d.Name)))] = d.Name
			}
		}
	}
	return n.names
}

// nearKey is what a key was likely meant to be.
type nearKey struct {
	// label is the label, with its port. If it is "", only the prefix is known, and like is
	// the key with it.
	label, like string
	// noEffect tells that the label has none, so that nobody need know.
	noEffect bool
}

// meant returns what a key was likely meant to be that is not known as it is written; ok is
// false if it is none of ours.
//
// A key is ours if its letters are those of a known label, or if its first word is one of our
// prefixes, each but for white space, quotes, case, separators and letters that look alike;
// and if there is a typo in the prefix. Other programs have names with words such as
// "haproxy" and "relay" too. They write them with hyphens or dots, and have no index
// of a port behind.
func (n *nearKeys) meant(key string) (meant nearKey, ok bool) {
	n.folded = sources.AppendFolded(n.folded[:0], key[:min(len(key), maxNearBytes)])
	n.letter = appendLetters(n.letter[:0], n.folded)
	for i := range known.words {
		w := &known.words[i]
		if l, index := w.find(n.letter, n.folded); l != nil {
			return nearKey{label: l.For(cmp.Or(index, "0")), noEffect: l.noEffect}, true
		}
	}
	for i := range known.words {
		w := &known.words[i]
		if rest, ok := w.cut(n.folded); ok {
			return nearKey{like: w.prefix + strings.ReplaceAll(strings.ToUpper(string(rest)), "-", "_")}, true
		}
		if label := w.named(n.folded, n.portNames); label != "" {
			return nearKey{label: label}, true
		}
	}
	return nearKey{}, false
}

// find returns the label with the letters of a key, but for typos in the prefix, and the
// index of the port; nil if there is none, or the key is likely of another program.
func (w *prefixWord) find(letters, folded []byte) (l *Label, index string) {
	for _, off := range [...]int{0, -1, 1, -2, 2} {
		at := len(w.letters) + off
		if at >= len(letters) || len(letters)-at > maxNameLetters || max(off, -off) > w.slips {
			continue
		}
		ofApp, ofPort := w.app[string(letters[at:])], w.port[string(letters[at:])]
		if ofApp == nil && ofPort == nil || !w.like(letters[:at]) {
			continue
		}
		index = indexAfter(folded, at)
		switch {
		case ofApp != nil && (index == "" || ofPort == nil):
			return ofApp, index
		case ofPort != nil && (index != "" || w.slips > 1 && !bytes.ContainsRune(folded, '-')):
			return ofPort, index
		}
	}
	return nil, ""
}

// like reports whether a word is the prefix, but for a few typos. The more there are, the
// surer the beginning has to be.
func (w *prefixWord) like(word []byte) bool {
	slips := sources.Typos(string(word), w.letters)
	return slips == 0 || slips <= w.slips && (word[0] == w.letters[0] || slips < w.slips)
}

// indexAfter returns the digits, without leading zeros, that follow the first so many letters
// of folded text; "" if there are none.
func indexAfter(folded []byte, letters int) string {
	at := 0
	for ; at < len(folded) && (letters > 0 || isSeparator(folded[at])); at++ {
		if !isSeparator(folded[at]) && !isDigit(folded[at]) {
			letters--
		}
	}
	to := at
	for to < len(folded) && isDigit(folded[to]) {
		to++
	}
	if to == at {
		return ""
	}
	return cmp.Or(strings.TrimLeft(string(folded[at:to]), "0"), "0")
}

// cut returns what follows the prefix, if that is the first word of the key beyond doubt.
func (w *prefixWord) cut(folded []byte) (rest []byte, ok bool) {
	if rest, ok = bytes.CutPrefix(folded, []byte(w.folded)); ok && len(rest) > 0 && (isSeparator(rest[0]) || isDigit(rest[0])) {
		if rest[0] == '_' {
			return rest[1:], true
		}
		digits := bytes.TrimLeft(rest, "-")
		after := bytes.TrimLeft(digits, "0123456789")
		return digits, len(after) < len(digits) && len(after) > 0 && isSeparator(after[0])
	}
	end := bytes.IndexFunc(folded, func(c rune) bool { return c < 0x80 && (isSeparator(byte(c)) || isDigit(byte(c))) })
	if w.slips < 2 || end < len(w.letters)-1 || end > len(w.letters)+1 || sources.Typos(string(folded[:end]), w.letters) > 1 {
		return nil, false
	}
	return bytes.TrimLeft(folded[end:], "_-"), true
}

// named returns the label of a key with the name of a declared port and other separators,
// such as HAPROXY-http-VHOST; "" if it is none.
func (w *prefixWord) named(folded []byte, portNames func() map[string]string) string {
	rest, ok := bytes.CutPrefix(folded, []byte(w.folded+"-"))
	if !ok {
		return ""
	}
	var buffer [maxNameLetters]byte
	names := portNames()
	for i, c := range rest {
		name, declared := names[string(rest[:i])]
		if !isSeparator(c) || !declared || len(rest)-i > maxNameLetters {
			continue
		}
		if l := w.port[string(appendLetters(buffer[:0], rest[i+1:]))]; l != nil {
			return l.For(name)
		}
	}
	return ""
}
