package history

// subscriber is one reader of changes as they come.
type subscriber struct{ changes chan Change }

// maxSubscribers bounds the readers.
const maxSubscribers = 1000

// Subscribe returns a channel of changes: each once when it is published, and once more when all
// Envoys have it. The channel is closed if so many changes come that they do not fit into the
// buffer, if there are too many readers, and by end: then Since has what was missed.
func (h *History) Subscribe(buffer int) (changes <-chan Change, end func()) {
	s := &subscriber{make(chan Change, max(1, buffer))}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subscribers) >= maxSubscribers {
		close(s.changes)
		return s.changes, func() {}
	}
	h.subscribers[s] = struct{}{}
	return s.changes, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unsubscribe(s)
	}
}

func (h *History) unsubscribe(s *subscriber) {
	if _, ok := h.subscribers[s]; ok {
		delete(h.subscribers, s)
		close(s.changes)
	}
}

// publish hands a change to all readers.
func (h *History) publish(e *entry) {
	if len(h.subscribers) == 0 {
		return
	}
	c := e.change()
	for s := range h.subscribers {
		select {
		case s.changes <- c:
		default:
			h.unsubscribe(s)
		}
	}
}
