package xds

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"
)

// frames follows the HTTP/2 frames that come on a connection, so that the size of each gRPC
// message is known before the message is read.
type frames struct {
	header [frameHeader]byte
	have   int // bytes of the header
	frame  http2.FrameHeader
	left   int // bytes of the payload
	// padding is at the end of the payload; negative before it is known.
	padding int
	// messages are the incomplete ones, by stream.
	messages map[uint32]*message
	// reservation is for the large message that begins next; nil if there is none yet.
	reservation *reservation
	// received is called when n more bytes of a large message came, and ended when the stream
	// ends before the message does.
	received func(r *reservation, n int)
	ended    func(r *reservation)
}

// message is what was seen of a gRPC message: a byte that tells of compression,
// four with the size, and the body.
type message struct {
	prefix      [prefixSize - 1]byte
	have        int // bytes of the prefix
	left        int // bytes of the body
	reservation *reservation
}

const prefixSize = 5

// maxMessages is how many incomplete messages there may be on a connection. These are more than
// there may be streams: the rest of a message may never come if the server ends its stream.
const maxMessages = 100

var (
	errLarge      = errors.New("a large message begins")
	errUnfinished = errors.New("too many messages were begun on the connection and not finished")
	errPadding    = errors.New("a frame has more padding than payload")
)

func newFrames(received func(*reservation, int), ended func(*reservation)) frames {
	// What comes first is no frame.
	return frames{left: len(http2.ClientPreface), messages: make(map[uint32]*message), received: received, ended: ended}
}

// scan reads on in b. In front of the last byte of the prefix of a large message it stops if
// there is no reservation yet, with errLarge and the size of the message.
func (f *frames) scan(b []byte) (n, size int, err error) {
	for n < len(b) {
		if f.left == 0 {
			k := copy(f.header[f.have:], b[n:])
			f.have, n = f.have+k, n+k
			if f.have == frameHeader {
				f.begin()
			}
			continue
		}
		k := min(len(b)-n, f.left)
		if f.frame.Type == http2.FrameData && f.frame.StreamID > 0 {
			k, size, err = f.data(b[n : n+k])
		}
		f.left, n = f.left-k, n+k
		if err != nil {
			return n, size, err
		}
		if f.left == 0 {
			f.end()
		}
	}
	return n, 0, nil
}

func (f *frames) begin() {
	f.frame, _ = http2.ReadFrameHeader(bytes.NewReader(f.header[:])) // all of it is there
	f.have, f.left, f.padding = 0, int(f.frame.Length), 0
	if f.frame.Type == http2.FrameData && f.frame.Flags.Has(http2.FlagDataPadded) {
		f.padding = -1
	}
	if f.left == 0 {
		f.end()
	}
}

// end handles the end of a frame: if the frame was the last one of its stream, no more of the
// stream's message comes.
func (f *frames) end() {
	switch f.frame.Type {
	case http2.FrameData, http2.FrameHeaders:
		if !f.frame.Flags.Has(http2.FlagDataEndStream) {
			return
		}
	case http2.FrameRSTStream:
	default:
		return
	}
	if m := f.messages[f.frame.StreamID]; m != nil {
		delete(f.messages, f.frame.StreamID)
		if m.reservation != nil {
			f.ended(m.reservation)
		}
	}
}

// data does what scan does in a part of the payload of a DATA frame.
func (f *frames) data(b []byte) (n, size int, err error) {
	if f.padding < 0 {
		if f.padding = int(b[0]); f.padding >= f.left {
			return 0, 0, errPadding
		}
		return 1, 0, nil
	}
	body := b[:min(len(b), max(0, f.left-f.padding))]
	m := f.messages[f.frame.StreamID]
	if m == nil {
		m = new(message)
	}
	for n < len(body) && err == nil {
		var k int
		k, size, err = f.part(m, body[n:])
		n += k
	}
	if m.left > 0 || m.have > 0 {
		f.messages[f.frame.StreamID] = m
	} else {
		delete(f.messages, f.frame.StreamID)
	}
	if err != nil {
		return n, size, err
	}
	if len(f.messages) > maxMessages {
		return n, 0, errUnfinished
	}
	return len(b), 0, nil
}

// part does so in the next part of a message, or the beginning of one.
func (f *frames) part(m *message, b []byte) (n, size int, err error) {
	if m.left > 0 {
		n = min(m.left, len(b))
		if m.left -= n; m.reservation != nil {
			f.received(m.reservation, n)
		}
		return n, 0, nil
	}
	if m.have < len(m.prefix) {
		n = copy(m.prefix[m.have:], b)
		m.have += n
		return n, 0, nil
	}
	size = int(binary.BigEndian.Uint32(append(m.prefix[1:len(m.prefix):len(m.prefix)], b[0])))
	// One that is too large is refused by gRPC, unread.
	large := size > smallRequest && size <= maxRequest
	if large && f.reservation == nil {
		return 0, size, errLarge
	}
	*m = message{left: size}
	if large {
		m.reservation, f.reservation = f.reservation, nil
	}
	return 1, 0, nil
}
