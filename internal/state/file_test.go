package state

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testKey(t testing.TB, b byte) *Key {
	t.Helper()
	key, err := ParseKey(bytes.Repeat([]byte{b}, keyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var at = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	for _, key := range []*Key{nil, testKey(t, 200)} {
		f := File{Path: filepath.Join(t.TempDir(), "apps.state"), Content: "apps", Key: key}
		if _, _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a file: %v", err)
		}
		for _, body := range []string{"first", "", "a\nsecond, which is longer"} {
			if err := f.Save(at, []byte(body)); err != nil {
				t.Fatal(err)
			}
			got, when, err := f.Load()
			if err != nil || string(got) != body || !when.Equal(at) {
				t.Errorf("loaded %q of %s, %v; want %q", got, when, err, body)
			}
			raw, err := os.ReadFile(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			if key != nil && body != "" && bytes.Contains(raw, []byte(body)) {
				t.Errorf("the encrypted file has the text %q", body)
			}
		}
		info, err := os.Stat(f.Path)
		if err != nil || info.Mode().Perm() != filePerm {
			t.Errorf("mode %v, %v; want %o", info.Mode(), err, filePerm)
		}
		if entries, _ := os.ReadDir(filepath.Dir(f.Path)); len(entries) != 1 {
			t.Errorf("the directory has %v, want the file alone", entries)
		}
	}
}

// What a crash between writing and renaming leaves is no obstacle, and a save
// that fails leaves what was there.
func TestSaveAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := File{Path: filepath.Join(dir, "apps.state"), Content: "apps"}
	if err := os.WriteFile(filepath.Join(dir, ".apps.state.new"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(at, []byte("whole")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".apps.state.new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(at, []byte("later")); err == nil || !strings.Contains(err.Error(), "cannot save the state") {
		t.Errorf("a save that cannot work: %v", err)
	}
	if body, _, err := f.Load(); err != nil || string(body) != "whole" {
		t.Errorf("after that: %q, %v", body, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	plain, secret := File{Content: "apps"}, File{Content: "apps", Key: testKey(t, 200)}
	good, sealed := plain.encode(at, []byte("body of it")), secret.encode(at, []byte("body of it"))
	// resum makes the checksum right again, as an attacker would.
	resum := func(data []byte, from, to string) []byte {
		line, body, _ := bytes.Cut(data, []byte("\n"))
		head := strings.Replace(string(line[:bytes.LastIndexByte(line, ' ')]), from, to, 1)
		return fmt.Appendf(nil, "%s %s\n%s", head, checksum(head, body), body)
	}
	tests := []struct {
		name string
		file File
		data []byte
		want string
	}{
		{"empty", plain, nil, "cut short"},
		{"another file", plain, []byte("<html>\n"), "no saved state"},
		{"newer format", plain, []byte("relay-state 2 whatever comes then\n"), `format "2", this Relay reads 1`},
		{"newer format, same line", plain, resum(good, " 1 ", " 2 "), "another version"},
		{"cut short", plain, good[:len(good)-1], "cut short"},
		{"longer", plain, append(bytes.Clone(good), 'x'), "damaged"},
		{"body changed", plain, bytes.Replace(good, []byte("body"), []byte("bodx"), 1), "checksum"},
		{"time changed", plain, bytes.Replace(good, []byte("2026"), []byte("2027"), 1), "checksum"},
		{"no time", plain, resum(good, "2026", "x"), "time"},
		{"other content", File{Content: "certificates"}, good, `holds "apps"`},
		{"unknown cipher", plain, resum(good, "none", "rot13"), "rot13"},
		{"encrypted, no key", plain, sealed, "--state-key-file"},
		{"plain, but a key", secret, good, "not encrypted"},
		{"another key", File{Content: "apps", Key: testKey(t, 201)}, sealed, "another key"},
		{"time changed under encryption", secret, resum(sealed, "2026", "2027"), "changed by somebody"},
		{"encryption taken off", secret, resum(sealed, aesGCM, none), "not encrypted"},
	}
	for _, tt := range tests {
		tt.file.Path = filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(tt.file.Path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		body, _, err := tt.file.Load()
		if body != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file.Path) {
			t.Errorf("%s: %q, %v; want an error with the path and %q", tt.name, body, err, tt.want)
		}
	}
	for n := range good {
		if _, _, err := plain.decode(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for the whole", n, len(good))
		}
	}
}

func FuzzLoad(f *testing.F) {
	plain, secret := File{Content: "apps"}, File{Content: "apps", Key: testKey(f, 200)}
	f.Add([]byte("relay-state 1 apps none 2026-03-04T05:06:07Z 0 \n"))
	f.Add(plain.encode(at, []byte("body")))
	f.Add(secret.encode(at, []byte("body")))
	f.Fuzz(func(t *testing.T, data []byte) {
		body, when, err := plain.decode(data)
		if err == nil && !bytes.HasSuffix(data, body) {
			t.Errorf("a body that is not in the file: %q", body)
		}
		if err == nil {
			if again, at, err := plain.decode(plain.encode(when, body)); err != nil || !at.Equal(when) || !bytes.Equal(again, body) {
				t.Errorf("saved again it is %q of %s, %v", again, at, err)
			}
		}
		// Nobody without the key makes a file that is taken, but for the seed.
		if body, _, err := secret.decode(data); err == nil && string(body) != "body" {
			t.Errorf("forged: %q", body)
		}
	})
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{200, 1}, 16)
	for _, good := range [][]byte{
		raw, []byte(hex.EncodeToString(raw) + "\n"), []byte(base64.StdEncoding.EncodeToString(raw)), []byte(base64.RawURLEncoding.EncodeToString(raw) + "\r\n"),
	} {
		key, err := ParseKey(good)
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		f := File{Content: "x", Key: key}
		first, _ := ParseKey(raw)
		if _, _, err := (File{Content: "x", Key: first}).decode(f.encode(at, []byte("b"))); err != nil {
			t.Errorf("%q is another key than %q: %v", good, raw, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Trim(text, "REDACT ") != "" {
			t.Errorf("printed as %q", text)
		}
	}
	for _, bad := range [][]byte{nil, raw[:31], append(bytes.Clone(raw), 9), []byte("correct horse battery staple 123"), []byte(hex.EncodeToString(raw[:16])), []byte(hex.EncodeToString(raw)[:63])} {
		if _, err := ParseKey(bad); err == nil || len(bad) > 0 && strings.Contains(err.Error(), string(bad)) {
			t.Errorf("%q: %v; want an error that does not tell it", bad, err)
		}
	}
}
