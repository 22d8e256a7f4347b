package xds

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/http2"
)

// However frames and reads are cut, each large message is announced in front of
// its body, with its size, and all of it is counted.
func TestFrames(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, smallRequest, smallRequest + 1, 100_000, maxRequest + 1, 5, 200_000}
	for range 200 {
		wire, large := randomFrames(random, sizes)
		var announced []int
		counted := make(map[*reservation]int)
		f := newFrames(func(r *reservation, n int) { counted[r] += n }, func(*reservation) { t.Error("a message was cut off") })
		for len(wire) > 0 {
			part := wire[:min(len(wire), 1+random.IntN(20_000))]
			for at := 0; at < len(part); {
				n, size, err := f.scan(part[at:])
				at += n
				if errors.Is(err, errLarge) {
					announced = append(announced, size)
					f.reservation = &reservation{size: size}
				} else if err != nil {
					t.Fatal(err)
				}
			}
			wire = wire[len(part):]
		}
		if len(announced) != len(large) {
			t.Fatalf("%v were announced, want %v", announced, large)
		}
		for r, n := range counted {
			if n != r.size {
				t.Errorf("%d bytes of %d were counted", n, r.size)
			}
		}
		if len(counted) != len(large) || len(f.messages) > 2 {
			t.Errorf("%d messages were counted, %d are open", len(counted), len(f.messages))
		}
	}
}

// randomFrames writes messages of these sizes on two streams, in turns, among
// other frames. It returns those that are to be announced. Of one that is too
// large only the beginning comes, on a stream of its own.
func randomFrames(random *rand.Rand, sizes []int) (wire []byte, large []int) {
	var streams [2][]byte
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	for _, size := range sizes {
		to := &streams[random.IntN(2)]
		head := binary.BigEndian.AppendUint32([]byte{0}, uint32(size))
		if size > maxRequest {
			_ = framer.WriteData(5, false, append(head, "beginning"...))
			continue
		}
		*to = append(append(*to, head...), make([]byte, size)...)
		if size > smallRequest {
			large = append(large, size)
		}
	}
	for len(streams[0])+len(streams[1]) > 0 {
		i := random.IntN(2)
		n := min(len(streams[i]), random.IntN(16<<10))
		switch id := uint32(2*i + 1); random.IntN(4) {
		case 0:
			_ = framer.WritePing(false, [8]byte{})
			_ = framer.WriteWindowUpdate(id, 1)
		case 1:
			_ = framer.WriteDataPadded(id, false, streams[i][:n], make([]byte, random.IntN(100)))
			streams[i] = streams[i][n:]
		default:
			_ = framer.WriteData(id, false, streams[i][:n])
			streams[i] = streams[i][n:]
		}
	}
	return out.Bytes(), large
}

// The memory of a message whose stream is reset is given back, and a connection cannot begin
// messages without end.
func TestFramesOfEndedStreams(t *testing.T) {
	t.Parallel()
	begin := func(n int, reset bool) (ended int, err error) {
		var out bytes.Buffer
		out.WriteString(http2.ClientPreface)
		framer := http2.NewFramer(&out, nil)
		for i := range n {
			id := uint32(2*i + 1)
			_ = framer.WriteData(id, false, []byte{0, 1, 0, 0, 0, 'x'})
			if reset {
				_ = framer.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		}
		f := newFrames(func(*reservation, int) {}, func(*reservation) { ended++ })
		for wire := out.Bytes(); len(wire) > 0; {
			n, size, err := f.scan(wire)
			if wire = wire[n:]; errors.Is(err, errLarge) {
				f.reservation = &reservation{size: size}
			} else if err != nil {
				return ended, err
			}
		}
		return ended, nil
	}
	if ended, err := begin(3*maxMessages, true); err != nil || ended != 3*maxMessages {
		t.Errorf("%d messages of reset streams gave back their memory, %v", ended, err)
	}
	if _, err := begin(maxMessages+1, false); !errors.Is(err, errUnfinished) {
		t.Errorf("too many messages: %v, want %v", err, errUnfinished)
	}
}

// Whatever a client sends, it is followed without a panic, and alike however it is cut.
func FuzzFrames(f *testing.F) {
	wire, _ := randomFrames(rand.New(rand.NewPCG(1, 2)), []int{1, 20})
	f.Add(wire[len(http2.ClientPreface):], uint8(7))
	// The beginning of a large message, with padding.
	f.Add([]byte{0, 0, 9, 0, 8, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0, 7, 0, 0}, uint8(1))
	follow := func(t *testing.T, data []byte, cut int) (seen []int) {
		t.Helper()
		frames := newFrames(func(_ *reservation, n int) {}, func(r *reservation) { seen = append(seen, -r.size) })
		frames.left = 0 // the preface was read
		for len(data) > 0 {
			part := data[:min(len(data), cut)]
			for at := 0; at < len(part); {
				n, size, err := frames.scan(part[at:])
				if n < 0 || n > len(part)-at || n == 0 && err == nil {
					t.Fatalf("%d of %d bytes were followed", n, len(part)-at)
				}
				at += n
				switch {
				case errors.Is(err, errLarge):
					seen = append(seen, size)
					frames.reservation = &reservation{size: size}
				case err != nil:
					return append(seen, 0)
				}
			}
			data = data[len(part):]
		}
		return seen
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		whole, parts := follow(t, data, max(1, len(data))), follow(t, data, 1+int(cut))
		if !slices.Equal(whole, parts) {
			t.Errorf("as a whole %v, in parts of %d bytes %v", whole, 1+int(cut), parts)
		}
	})
}
