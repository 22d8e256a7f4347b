package imp

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// kind is what a frame of the devices' protocol is.
type kind byte

// Frames have a byte of kind, two of length, and so many bytes.
const (
	// hello is the first of a device, with its id; welcome answers it.
	hello kind = iota + 1
	welcome
	ping
	pong
	// toAgent is a message for the device's agent in the cloud, and fromAgent what that answers.
	toAgent
	fromAgent
	// comeAgain tells a device that the server ends: it is to connect anew.
	comeAgain
)

// frameTimeout bounds the reading of a frame that must come, and the writing of any.
const frameTimeout = 20 * time.Second

type frame struct {
	kind kind
	text string
}

func (f frame) bytes() []byte {
	b := binary.BigEndian.AppendUint16([]byte{byte(f.kind)}, uint16(len(f.text)))
	return append(b, f.text...)
}

var errUnexpected = errors.New("another frame than expected")

func readFrame(r io.Reader) (frame, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	text := make([]byte, binary.BigEndian.Uint16(head[1:]))
	_, err := io.ReadFull(r, text)
	return frame{kind(head[0]), string(text)}, err
}
