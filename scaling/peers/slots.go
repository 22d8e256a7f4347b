package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relay/internal/panics"
)

// gone is for how long a peer must not have answered until its slots count no more. Until then it may still be there for
// others.
const gone = 10 * time.Second

// SlotParts is how many parts digests are of: those of package slots.
const SlotParts = 64

// SlotPort says which slots the instances of a port whose requests are hashed have.
type SlotPort struct {
	// App is the routed name, and Port the index of the port.
	App  string `json:"app"`
	Port int    `json:"port"`
	// Seen is a digest of what slots rest on: who is asked knows the same instances if it has the same.
	Seen string `json:"seen"`
	// Slots are those of instances that take requests, by the id of the task, or the address if there is none, and Kept those that
	// other instances had, which drain or are away.
	Slots map[string]int `json:"slots,omitempty"`
	Kept  map[string]int `json:"kept,omitempty"`
	// Freed are slots that instances have left, the last one at the end.
	Freed []int `json:"freed,omitempty"`
}

// Slots is what this Relay knows of slots. Its methods return at once.
type Slots interface {
	// Began is when the source was read for the first time, or zero.
	Began() time.Time
	// Digests are those of each part of what is known; nil if there is no port whose requests are hashed.
	Digests() []uint64
	// Known returns which parts differ from those with these digests, and what is known of the ports in them.
	Known(digests []uint64) (parts []int, ports []SlotPort)
	// Compare takes over slots from what a peer says of parts that differ. It asks counts about each port in them: comparable is
	// whether the peer knows the same instances, and what is returned, whether its slots are taken over then.
	Compare(parts []int, ports []SlotPort, counts func(app string, port int, comparable bool) bool)
}

// slotKey names a port.
type slotKey struct {
	app  string
	port int
}

// precedence says which of several Relays counts when their slots differ.
type precedence struct {
	began    time.Time
	instance string
	// silent are ports of which it does not know the same instances.
	silent map[slotKey]bool
}

// before reports whether slots of one Relay count rather than those of another: it has run longer. That of a Relay that has
// not read its source never do. All Relays agree on it, whatever their clocks say, as each says for itself when it began.
func (p precedence) before(other precedence) bool {
	if p.began.IsZero() || other.began.IsZero() {
		return !p.began.IsZero()
	}
	return cmp.Or(p.began.Compare(other.began), strings.Compare(p.instance, other.instance)) < 0
}

// counts reports whether a Relay takes over the slots of a port that another one says. It does unless it runs longer itself, or
// a third one does, which has a say on the port. So however many there are, all take those of the same one.
func counts(own, from precedence, others []precedence, port slotKey) bool {
	return !own.began.IsZero() && from.before(own) && !slices.ContainsFunc(others, func(o precedence) bool {
		return o.before(from) && !o.silent[port]
	})
}

// own is the precedence of this Relay, as others see it.
func (p *Peers) own() precedence {
	if p.Slots == nil {
		return precedence{instance: p.instance}
	}
	return precedence{began: p.Slots.Began(), instance: p.instance}
}

// digests are what a peer is to be asked about; nil if it is not to be asked about slots: there are none here, or the slots of
// this Relay are those that count.
func (p *Peers) digests(peer *peer) []uint64 {
	own := p.own()
	p.mu.Lock()
	before := !own.began.IsZero() && peer.precedence.instance != p.instance && peer.precedence.before(own)
	p.mu.Unlock()
	if !before {
		return nil
	}
	return p.Slots.Digests()
}

// compare takes over slots from the answer of a peer.
func (p *Peers) compare(peer *peer, a Answer) {
	own, from := p.own(), precedence{began: a.Began, instance: a.Instance}
	var others []precedence
	p.mu.Lock()
	for _, other := range p.others() {
		if other.instance != a.Instance && time.Since(other.heard) <= gone {
			others = append(others, other.precedence)
		}
	}
	p.mu.Unlock()
	silent := make(map[slotKey]bool)
	if len(a.SlotParts) > 0 {
		p.Slots.Compare(a.SlotParts, a.Slots, func(app string, port int, comparable bool) bool {
			key := slotKey{app, port}
			silent[key] = !comparable
			return comparable && counts(own, from, others, key)
		})
	}
	p.mu.Lock()
	peer.precedence.silent = silent
	p.mu.Unlock()
}

// SlotsAtStart asks all peers once which slots they have given, and returns what the one says that runs longest.
func (p *Peers) SlotsAtStart(ctx context.Context) []SlotPort {
	p.mu.Lock()
	others := p.others()
	p.mu.Unlock()
	// They are asked who they are first: an older Relay does not know the question.
	p.askAll(ctx, others, Question{})
	p.mu.Lock()
	others = p.others()
	others = slices.DeleteFunc(others, func(o *peer) bool { return o.precedence.began.IsZero() })
	slices.SortStableFunc(others, func(a, b *peer) int {
		if a.precedence.before(b.precedence) {
			return -1
		}
		return 1
	})
	p.mu.Unlock()
	for i, a := range p.askAll(ctx, others, Question{Slots: make([]uint64, SlotParts)}) {
		if a.Instance == others[i].instance && len(a.Slots) > 0 {
			return a.Slots
		}
	}
	return nil
}

// askAll asks peers at once. Who does not answer has the zero Answer.
func (p *Peers) askAll(ctx context.Context, peers []*peer, q Question) []Answer {
	answers := make([]Answer, len(peers))
	var all sync.WaitGroup
	for i, peer := range peers {
		all.Go(func() {
			_ = panics.Catch(func() (err error) {
				answers[i], err = p.question(ctx, peer, q)
				return err
			})
		})
	}
	all.Wait()
	return answers
}

// addSlots adds what is known of slots to an answer.
func (p *Peers) addSlots(a *Answer, q Question) {
	if p.Slots == nil {
		return
	}
	a.Began = p.Slots.Began()
	if len(q.Slots) == 0 || a.Began.IsZero() {
		return
	}
	var ports []SlotPort
	a.SlotParts, ports = p.Slots.Known(q.Slots)
	bytes, instances := 0, 0
	for _, port := range ports {
		bytes += 200 + 2*len(port.App) + 16*len(port.Freed)
		for _, all := range []map[string]int{port.Slots, port.Kept} {
			instances += len(all)
			for name := range all {
				bytes += 32 + len(name)
			}
		}
		if bytes > maxAnswer/2 || instances > maxSlots {
			return // the others are told when these agree
		}
		a.Slots = append(a.Slots, port)
	}
}

// checkSlots refuses what is too much in an answer.
func (a *Answer) checkSlots() error {
	if len(a.SlotParts) > SlotParts {
		return fmt.Errorf("it has %d parts of slots", len(a.SlotParts))
	}
	n := len(a.Slots)
	for _, port := range a.Slots {
		n += len(port.Slots) + len(port.Kept)
		if len(port.App) > maxName || len(port.Seen) > maxName {
			return errors.New("it has slots of a name that is too long")
		}
	}
	if n > 2*maxSlots {
		return fmt.Errorf("it has %d slots", n)
	}
	return nil
}

// joinDigests makes one text of digests.
func joinDigests(digests []uint64) string {
	var text strings.Builder
	for _, one := range digests {
		_, _ = fmt.Fprintf(&text, "%016x", one)
	}
	return text.String()
}

// splitDigests is the reverse of joinDigests.
func splitDigests(text string) ([]uint64, error) {
	if text == "" {
		return nil, nil
	}
	bad := fmt.Errorf("%s: %d digests of 16 hexadecimal digits", paramSlots, SlotParts)
	if len(text) != 16*SlotParts {
		return nil, bad
	}
	digests := make([]uint64, SlotParts)
	for i := range digests {
		var err error
		if digests[i], err = strconv.ParseUint(text[16*i:16*i+16], 16, 64); err != nil {
			return nil, bad
		}
	}
	return digests, nil
}
