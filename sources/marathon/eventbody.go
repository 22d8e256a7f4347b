package marathon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"relay/internal/panics"
)

var errEventTooLong = errors.New("event is longer than the limit")

const (
	// linePart is the most that is searched for the end of a line at once, in bytes.
	linePart = 4 << 10
	// keptBuffer is the size in bytes above which a buffer is not kept for the next message.
	keptBuffer = 8 << 20
)

// eventBody is the body of an event stream in the form that the SSE library
// reads correctly and in linear time. The library joins messages at some line
// ends, takes a message that the end of the stream cuts off for a complete one,
// and searches all that it has for a blank line after each Read. Therefore:
//
//   - All lines end with LF. The stream may use CR, LF or CRLF. A CR ends its line
//     at once: the LF of a CRLF may come in a later packet.
//   - A byte order mark at the start is dropped, and so are blank lines between messages.
//   - A message is handed on when its blank line has come. A message without one is dropped.
//   - A Read returns bytes of one message only, as many as fit.
//   - A message whose lines have more bytes than the limit is an error.
type eventBody struct {
	io.Closer
	in    *bufio.Reader
	limit int // bytes of one message, without line ends

	started bool   // the first line was read
	skipLF  bool   // the last line ended with CR: an LF that follows belongs to it
	message []byte // the message being read
	rest    []byte // what is left to hand on of a complete message
	err     error  // why the stream ended
}

func newEventBody(body io.ReadCloser, limit int) *eventBody {
	return &eventBody{Closer: body, in: bufio.NewReaderSize(body, 64<<10), limit: limit}
}

// Read implements io.Reader. A panic is an error, since the goroutine that
// calls Read is the library's.
func (b *eventBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 && b.err == nil {
		b.err = panics.Catch(b.readMessage)
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// readMessage reads the next message, its blank line included, into b.rest.
// The error is io.EOF when the stream has ended, whether or not a message was
// cut off: a stream that is not chunked cannot tell.
func (b *eventBody) readMessage() error {
	if cap(b.message) > keptBuffer {
		b.message = nil
	}
	b.message = b.message[:0]
	line, size := 0, 0 // where the line begins in the message, and bytes of the message without line ends
	for {
		part, ended, err := b.readPart()
		if err != nil {
			return err
		}
		if size += len(part); size > b.limit {
			return fmt.Errorf("%w of %d bytes", errEventTooLong, b.limit)
		}
		if cap(b.message)-len(b.message) < len(part)+1 { // append alone would copy a large message many times
			b.message = slices.Grow(b.message, cap(b.message)+len(part)+1)
		}
		b.message = append(b.message, part...)
		if !ended {
			continue
		}
		if !b.started {
			b.started = true
			b.message = bytes.TrimPrefix(b.message, []byte("\xef\xbb\xbf"))
		}
		switch blank := len(b.message) == line; {
		case blank && line == 0:
			size = 0 // no message has begun: a heartbeat is a blank line
		case blank:
			b.message = append(b.message, '\n')
			b.rest = b.message
			return nil
		default:
			b.message = append(b.message, '\n')
			line = len(b.message)
		}
	}
}

// readPart returns the next bytes of a line, and whether they end it. They are
// valid until the next call and do not include the line end.
func (b *eventBody) readPart() (part []byte, ended bool, err error) {
	if b.in.Buffered() == 0 {
		if _, err := b.in.Peek(1); err != nil {
			return nil, false, err
		}
	}
	part, _ = b.in.Peek(min(b.in.Buffered(), linePart))
	if b.skipLF {
		b.skipLF = false
		if part[0] == '\n' {
			_, err = b.in.Discard(1)
			return nil, false, err
		}
	}
	end := bytes.IndexByte(part, '\n')
	if end >= 0 {
		part = part[:end]
	}
	if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
		part, end, b.skipLF = part[:cr], cr, true
	}
	if end < 0 {
		_, err = b.in.Discard(len(part))
		return part, false, err
	}
	_, err = b.in.Discard(end + 1)
	return part, true, err
}
