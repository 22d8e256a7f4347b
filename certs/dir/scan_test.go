package dir

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs/certstest"
	"relay/internal/problem"
)

type options = certstest.Options

func TestScanLayouts(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	a := ca.TestIssue(t, []string{"a.test"}, options{}).Bundle()
	pair := ca.TestIssue(t, []string{"pair.test"}, options{})
	leaf := certstest.Join(pair.Leaf, pair.Chain)
	star := ca.TestIssue(t, nil, options{NoSAN: true, CommonName: "*", SelfSigned: true}).Bundle()
	secret := []byte("account key: must never be opened")

	for name, test := range map[string]struct {
		files     map[string][]byte
		paths     []string
		fallback  string
		want      []string
		isDefault []string
		notRead   string
	}{
		"a directory": {
			files: map[string][]byte{
				"d/a.pem": a, "d/.hidden.pem": a, "d/xyza.pem.new": a, "d/notes.txt": a, "d/deep/b.pem": a, "d/deep.pem/b.pem": a,
				"d/pair.crt": leaf, "d/pair.key": pair.Key, "d/lonely.crt": a, "d/client.key": pair.Key, "d/client.crt": leaf,
				"d/split.pem": leaf, "d/split.pem.key": pair.Key,
			},
			paths: []string{"d"}, want: []string{"d/a.pem", "d/pair.crt", "d/split.pem"},
			notRead: `"client.crt" (client.key is never read: give both another name), "deep" (directories below are not read), "deep.pem" (directories below are not read) and 1 more`,
		},
		"marathon-acme's storage": {
			files: map[string][]byte{
				"d/client.key": secret, "d/default.pem": star, "d/other.pem": a,
				"d/certs/a.pem": a, "d/unmanaged-certs/own.pem": pair.Bundle(),
			},
			paths: []string{"d"}, want: []string{"d/certs/a.pem", "d/default.pem", "d/unmanaged-certs/own.pem"}, isDefault: []string{"d/default.pem"},
			notRead: `"other.pem" (beside the folder certs only default.pem is read: put it into unmanaged-certs)`,
		},
		"marathon-lb's list": {
			files: map[string][]byte{"d/client.key": secret, "d/default.pem": star, "d/certs/a.pem": a},
			paths: []string{"d/certs", "d/default.pem"}, want: []string{"d/certs/a.pem", "d/default.pem"}, isDefault: []string{"d/default.pem"},
		},
		"each file once": {
			files: map[string][]byte{"d/default.pem": star, "d/certs/a.pem": a},
			paths: []string{"d", "d/certs", "d/certs/a.pem"}, want: []string{"d/certs/a.pem", "d/default.pem"}, isDefault: []string{"d/default.pem"},
		},
		"a file of any name": {
			files: map[string][]byte{"cert": a, "client.key": a},
			paths: []string{"cert", "client.key"}, want: []string{"cert"}, notRead: `"client.key" (marathon-acme's account key is never read)`,
		},
		"the default that is configured": {
			files: map[string][]byte{"d/default.pem": a, "d/star.pem": star, "mine.pem": pair.Bundle()},
			paths: []string{"d"}, fallback: "mine.pem", want: []string{"d/default.pem", "mine.pem"}, isDefault: []string{"mine.pem"},
		},
		"a bare star": {
			files: map[string][]byte{"d/star.pem": star},
			paths: []string{"d"}, want: []string{"d/star.pem"}, isDefault: []string{"d/star.pem"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for path, content := range test.files {
				f.write(path, content)
			}
			s := f.scanner(test.paths...)
			if test.fallback != "" {
				s.defaultPath = f.path(test.fallback)
				s.layout = newLayout(append(s.layout.paths, s.defaultPath))
			}
			opened := watchOpens(t, f.accountKeys())
			r, err := s.scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if opened() {
				t.Error("the account key was opened")
			}
			var notRead string
			if len(r.problems) > 0 {
				notRead = strings.TrimPrefix(r.problems[0].Reason, "not read: ")
			}
			if notRead != test.notRead || len(r.problems) > 1 {
				t.Errorf("problems %v, want one with %q", r.problems, test.notRead)
			}
			var got, isDefault []string
			for _, c := range r.certificates {
				got = append(got, f.relative(c.Name))
				if c.Default {
					isDefault = append(isDefault, f.relative(c.Name))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.isDefault, isDefault); diff != "" {
				t.Error("default: ", diff)
			}
		})
	}
}

func TestScanBadFiles(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	good := ca.TestIssue(t, []string{"a.test"}, options{})
	for name, test := range map[string]struct {
		change func(t *testing.T, f *fixture)
		want   string
		served bool // the file was good before and is served still
	}{
		"garbage at first":   {func(_ *testing.T, f *fixture) { f.write("d/b.pem", []byte("x")) }, "no PEM block", false},
		"garbage later":      {func(_ *testing.T, f *fixture) { f.write("d/a.pem", []byte("x")) }, "no PEM block found; its last good content stays", true},
		"truncated":          {func(_ *testing.T, f *fixture) { f.write("d/a.pem", good.Bundle()[:200]) }, "last good content", true},
		"key mismatch":       {func(t *testing.T, f *fixture) { f.write("d/a.pem", mismatch(t)) }, "belongs to none", true},
		"too large":          {func(_ *testing.T, f *fixture) { f.write("d/a.pem", make([]byte, maxSize+1)) }, "1048577 bytes", true},
		"a named pipe":       {func(t *testing.T, f *fixture) { f.pipe(t, "d/b.pem") }, "not a regular file", false},
		"read while written": {func(t *testing.T, f *fixture) { f.remove("d/a.pem"); f.link(t, changing, "d/a.pem") }, "being written while it was read; its last good", true},
		"a dangling link":    {func(t *testing.T, f *fixture) { f.link(t, "nowhere", "d/b.pem") }, "no such file", false},
		"a directory linked": {func(t *testing.T, f *fixture) { f.link(t, ".", "d/b.pem") }, "not a regular file", false},
		"key open to all":    {func(t *testing.T, f *fixture) { f.chmod(t, "d/a.pem", 0o644) }, "everyone on the machine (mode 0644)", true},
		"expired renewal":    {func(t *testing.T, f *fixture) { f.write("d/a.pem", expired(t, ca)) }, "the old one stays", true},
		"early renewal":      {func(t *testing.T, f *fixture) { f.write("d/a.pem", early(t, ca)) }, "the old one is served until then", true},
		"names no client uses": {func(t *testing.T, f *fixture) {
			f.write("d/b.pem", ca.TestIssue(t, nil, options{CommonName: "no domain", NoSAN: true}).Bundle())
		}, "no server name", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write("d/a.pem", good.Bundle())
			f.write("d/z.pem", ca.TestIssue(t, []string{"z.test"}, options{}).Bundle())
			s := f.scanner("d")
			if r, err := s.scan(t.Context()); err != nil || len(r.certificates) != 2 || len(r.problems) != 0 {
				t.Fatal(r, err)
			}
			test.change(t, f)
			r, err := s.scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(r.certificates) != 2 || r.certificates[0].Fingerprint != good.Fingerprint {
				t.Errorf("served: %v", r.certificates)
			}
			var reasons []string
			for _, p := range r.problems {
				if open := strings.Contains(p.Reason, "everyone on the machine"); open != (p.Severity == problem.Advice && p.Action == "let only Relay's user and group read it") {
					t.Errorf("problem %+v", p)
				}
				reasons = append(reasons, p.Reason)
			}
			all := strings.Join(reasons, "; ")
			if !strings.Contains(all, test.want) {
				t.Errorf("problems %q, want %q", all, test.want)
			}
			if strings.Contains(all, "last good") && !test.served {
				t.Errorf("%q, but there is none", all)
			}
		})
	}
}

// changing is a file whose size is never what its status says.
const changing = "/proc/self/status"

// A file is judged by its content, not by what the file system says of it.
func TestScanSeesContentThatLooksTheSame(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	key := ca.TestIssue(t, []string{"a.test"}, options{KeyType: certstest.RSA2048})
	first := ca.TestIssue(t, []string{"a.test"}, options{Key: key.Signer})
	second := first
	for len(second.Bundle()) != len(first.Bundle()) || second == first {
		second = ca.TestIssue(t, []string{"a.test"}, options{Key: key.Signer})
	}
	f := newFixture(t)
	f.write("d/a.pem", first.Bundle())
	before, err := os.Stat(f.path("d/a.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := f.scanner("d")
	if r, err := s.scan(t.Context()); err != nil || r.certificates[0].Fingerprint != first.Fingerprint {
		t.Fatal(r, err)
	}
	f.write("d/a.pem", second.Bundle()) // in place: the same inode
	if err := os.Chtimes(f.path("d/a.pem"), before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if r, err := s.scan(t.Context()); err != nil || r.certificates[0].Fingerprint != second.Fingerprint {
		t.Error("the new content was not noticed", err)
	}
}

func TestScanReadsAHalfWrittenFileAgain(t *testing.T) {
	t.Parallel()
	bundle := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.write("d/a.pem", bundle[:300])
		s := f.scanner("d")
		go func() {
			time.Sleep(s.retryDelay / 2)
			f.write("d/a.pem", bundle)
		}()
		r, err := s.scan(t.Context())
		if err != nil || len(r.certificates) != 1 || len(r.problems) != 0 {
			t.Fatal(r, err)
		}
	})
}

func TestScanDropsARemovedFileAfterTwoScans(t *testing.T) {
	t.Parallel()
	bundle := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle()
	for name, paths := range map[string][]string{"in a directory": {"d"}, "as a file": {"d/a.pem"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.write("d/a.pem", bundle)
				s := f.scanner(paths...)
				steps := []struct {
					do   func()
					want int
				}{
					{func() {}, 1},
					{func() { f.remove("d/a.pem") }, 1},
					{func() { time.Sleep(removalDelay / 2) }, 1}, // too soon to count
					{func() { f.write("d/a.pem", bundle) }, 1},   // it was only being replaced
					{func() { f.remove("d/a.pem") }, 1},
					{func() { time.Sleep(removalDelay) }, 0},
					{func() { f.write("d/a.pem", bundle) }, 1},
				}
				for i, step := range steps {
					step.do()
					r, err := s.scan(t.Context())
					if err != nil || len(r.certificates) != step.want {
						t.Fatalf("step %d: %d certificates, want %d (%v)", i, len(r.certificates), step.want, err)
					}
				}
			})
		})
	}
}

func TestScanFails(t *testing.T) {
	t.Parallel()
	bundle := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle()
	for name, lose := range map[string]func(*testing.T, *fixture){
		"directory missing":            func(_ *testing.T, f *fixture) { f.remove("d") },
		"certs folder missing":         func(_ *testing.T, f *fixture) { f.remove("d/certs") },
		"file's directory missing":     func(_ *testing.T, f *fixture) { f.remove("e") },
		"directory replaced by a file": func(_ *testing.T, f *fixture) { f.remove("d/certs"); f.write("d/certs", nil) },
		"every file unreadable": func(t *testing.T, f *fixture) {
			f.remove("d/certs/a.pem")
			f.pipe(t, "d/certs/a.pem")
			f.remove("e/b.pem")
			f.pipe(t, "e/b.pem")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write("d/certs/a.pem", bundle)
			f.write("e/b.pem", bundle)
			s := f.scanner("d", "e/b.pem")
			if r, err := s.scan(t.Context()); err != nil || len(r.certificates) != 2 {
				t.Fatal(r, err)
			}
			lose(t, f)
			for range 3 {
				if r, err := s.scan(t.Context()); err == nil {
					t.Fatalf("no error, but %v", r)
				}
			}
			f.remove("d/certs")
			f.write("d/certs/a.pem", bundle)
			f.remove("e")
			f.write("e/b.pem", bundle)
			if r, err := s.scan(t.Context()); err != nil || len(r.certificates) != 2 {
				t.Fatal(r, err)
			}
		})
	}
}

func mismatch(t *testing.T) []byte {
	ca := certstest.TestCA(t)
	return certstest.Join(ca.TestIssue(t, []string{"a.test"}, options{}).Key, ca.TestIssue(t, []string{"a.test"}, options{}).Leaf)
}

func expired(t *testing.T, ca *certstest.CA) []byte {
	return ca.TestIssue(t, []string{"a.test"}, options{NotBefore: time.Now().AddDate(0, 0, -9), NotAfter: time.Now().AddDate(0, 0, -1)}).Bundle()
}

func early(t *testing.T, ca *certstest.CA) []byte {
	return ca.TestIssue(t, []string{"a.test"}, options{NotBefore: time.Now().AddDate(0, 0, 1)}).Bundle()
}
