package admin

import (
	"strconv"
	"strings"
	"time"
)

// eventID is what a reader of events has seen last: a change, of one life of a Relay. Ids of
// changes begin anew when a Relay starts.
type eventID struct {
	// life is empty where only the id of a change was given.
	life   string
	change uint64
}

// newLife returns a name that no other life of this Relay has.
func newLife() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

func (e eventID) String() string { return e.life + "-" + strconv.FormatUint(e.change, 10) }

// parseEventID reads the header Last-Event-ID; nil if it is not there.
func parseEventID(text string) (*eventID, error) {
	if text == "" {
		return nil, nil
	}
	life, number, found := strings.Cut(text, "-")
	if !found {
		life, number = "", text
	}
	change, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, badRequest("Last-Event-ID is the id of an event, or that of a change: a number")
	}
	return &eventID{life, change}, nil
}

// after returns the change after which the reader is to be told all, in a life whose newest
// change is known. Of what it saw in another one nothing says how far it is: it is told the last
// changes of this one. An id of no life is taken for one of this, unless it is beyond the newest.
func (e *eventID) after(life string, newest uint64) uint64 {
	switch {
	case e == nil:
		return newest
	case e.change <= newest && (e.life == life || e.life == ""):
		return e.change
	}
	return newest - min(newest, maxReplayed)
}
