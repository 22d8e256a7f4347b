package proxytlv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// header makes a header as Envoy does.
func header(command, family byte, addresses string, values ...string) string {
	rest := addresses
	for i := 0; i+1 < len(values); i += 2 {
		rest += values[i] + string(binary.BigEndian.AppendUint16(nil, uint16(len(values[i+1])))) + values[i+1]
	}
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

const (
	addresses4 = "\x0a\x00\x00\x01\x7f\x00\x00\x01\x12\x34\x22\xb3"
	addresses6 = "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x34\x22\xb3"
)

func TestRead(t *testing.T) {
	t.Parallel()
	r := strings.NewReader(header(0x21, 0x11, addresses4, "\xe0", "spiffe://lab.test/device/7", "\xe2", "abcd", "\x03", "crc") + "data")
	h, err := Read(r)
	if err != nil {
		t.Fatal(err)
	}
	if h.Source != netip.MustParseAddrPort("10.0.0.1:4660") || h.Destination != netip.MustParseAddrPort("127.0.0.1:8883") {
		t.Errorf("from %s to %s", h.Source, h.Destination)
	}
	if h.URI() != "spiffe://lab.test/device/7" || h.Value(Fingerprint) != "abcd" || h.Value(Subject) != "" || !h.Shown() {
		t.Errorf("%+v", h)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "data" {
		t.Errorf("%q is left of what follows", rest)
	}
	six, err := Read(strings.NewReader(header(0x21, 0x21, addresses6)))
	if err != nil || six.Source != netip.MustParseAddrPort("[fd00::1]:4660") || six.Shown() || six.URI() != "" {
		t.Errorf("%+v, %v", six, err)
	}
	several, err := Read(strings.NewReader(header(0x21, 0x11, addresses4, "\xe0", "spiffe://lab.test/a,spiffe://lab.test/b")))
	if err != nil || several.URI() != "" || several.Value(URIs) == "" {
		t.Errorf("one of several URIs is taken: %+v, %v", several, err)
	}
	local, err := Read(strings.NewReader(header(0x20, 0x11, addresses4, "\xe0", "spiffe://lab.test/a")))
	if err != nil || local.Source.IsValid() || local.URI() != "" {
		t.Errorf("what Envoy asks for itself: %+v, %v", local, err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	whole := header(0x21, 0x11, addresses4, "\xe0", "spiffe://lab.test/device/7")
	for name, text := range map[string]string{
		"version 1":        "PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n",
		"a request":        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"a command":        header(0x22, 0x11, addresses4),
		"another version":  header(0x11, 0x11, addresses4),
		"a family":         header(0x21, 0x12, addresses4),
		"short addresses":  header(0x21, 0x11, addresses4[1:]),
		"short addresses6": header(0x21, 0x21, addresses4),
		"a short value":    header(0x21, 0x11, addresses4+"\xe0\x00\x05abc"),
		"a shorter value":  header(0x21, 0x11, addresses4+"\xe0\x00"),
		"a value twice":    header(0x21, 0x11, addresses4, "\xe0", "spiffe://lab.test/a", "\xe0", "spiffe://lab.test/b"),
	} {
		if h, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, h)
		}
	}
	for n := range len(whole) {
		if h, err := Read(strings.NewReader(whole[:n])); err == nil || h.values != nil {
			t.Errorf("%d bytes of %d: %+v", n, len(whole), h)
		}
	}
	if _, err := Read(strings.NewReader("PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n")); !errors.Is(err, ErrNoHeader) {
		t.Errorf("version 1: %v", err)
	}
}

// FuzzRead holds that Read never panics, never reads beyond the header, and that what it returns was in
// the header.
func FuzzRead(f *testing.F) {
	f.Add([]byte(header(0x21, 0x11, addresses4, "\xe0", "spiffe://lab.test/device/7") + "data"))
	f.Add([]byte(header(0x21, 0x21, addresses6, "\x20", "", "\xe5", "a.test")))
	f.Add([]byte(header(0x20, 0, "")))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		h, err := Read(r)
		if err != nil {
			if h.values != nil || h.Source.IsValid() {
				t.Errorf("%+v beside the error %v", h, err)
			}
			return
		}
		if want := len(text) - fixedSize - int(binary.BigEndian.Uint16(text[fixedSize-2:])); r.Len() != want {
			t.Errorf("%d bytes are left, want %d", r.Len(), want)
		}
		for _, kind := range Types() {
			if !bytes.Contains(text, []byte(h.Value(kind))) {
				t.Errorf("%q was not in the header", h.Value(kind))
			}
		}
	})
}
