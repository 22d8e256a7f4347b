package dir

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/certstest"
)

// certbot writes a version of a certificate, and has the links point to it.
func (f *fixture) certbot(t *testing.T, name, version string, c *certstest.Issued) {
	t.Helper()
	f.certbotArchive(name, version, c)
	f.write("le/live/README", []byte("x"))
	f.write("le/live/"+name+"/README", []byte("x"))
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		f.certbotLink(t, name, part, version)
	}
}

func (f *fixture) certbotArchive(name, version string, c *certstest.Issued) {
	folder := "le/archive/" + name + "/"
	f.write(folder+"cert"+version+".pem", c.Leaf)
	f.write(folder+"chain"+version+".pem", c.Chain)
	f.write(folder+"fullchain"+version+".pem", certstest.Join(c.Leaf, c.Chain))
	f.write(folder+"privkey"+version+".pem", c.Key)
}

func (f *fixture) certbotLink(t *testing.T, name, part, version string) {
	t.Helper()
	link := "le/live/" + name + "/" + part + ".pem"
	f.remove(link)
	f.link(t, "../../archive/"+name+"/"+part+version+".pem", link)
}

func TestCertbot(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	f := newFixture(t)
	f.certbot(t, "a.test", "1", ca.TestIssue(t, []string{"a.test"}, options{}))
	f.certbot(t, "certs", "1", ca.TestIssue(t, []string{"b.test"}, options{}))
	f.write("le/renewal/a.test.conf", []byte("x"))
	f.write("le/keys/0000_key-certbot.pem", []byte("x"))
	a, b := "le/live/a.test", "le/live/certs"
	for name, test := range map[string]struct {
		paths    []string
		fallback string
		want     []string
		problem  string
	}{
		"live":              {paths: []string{"le/live"}, want: []string{a, b}},
		"one of them":       {paths: []string{a}, want: []string{a}},
		"its file":          {paths: []string{a + "/fullchain.pem"}, want: []string{a}},
		"all, and one":      {paths: []string{"le/live", a, a + "/fullchain.pem"}, fallback: a + "/fullchain.pem", want: []string{a, b}},
		"the folder, again": {paths: []string{"le/live", a}, fallback: a, want: []string{a, b}},
		"one level above":   {paths: []string{"le"}, problem: "write " + f.path("le/live") + " in place of " + f.path("le")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.scanner(test.paths...)
			if test.fallback != "" {
				s.defaultPath = f.path(test.fallback)
			}
			r, err := s.scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range r.certificates {
				got = append(got, f.relative(c.Name))
				if c.Default != (test.fallback != "" && f.relative(c.Name) == a) {
					t.Errorf("%s: default is %v", c.Name, c.Default)
				}
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("%v, want %v", got, test.want)
			}
			if test.problem == "" && len(r.problems) != 0 || test.problem != "" && (len(r.problems) != 1 || !strings.Contains(r.problems[0].Reason, test.problem)) {
				t.Errorf("%v, want %q", r.problems, test.problem)
			}
		})
	}
}

// certbot changes one link after the other, and each is missing for a moment.
func TestCertbotLinksChangeOneByOne(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	first, second := ca.TestIssue(t, []string{"a.test"}, options{}), ca.TestIssue(t, []string{"a.test"}, options{})
	for name, between := range map[string]func(f *fixture){
		"the old key beside the new chain": func(f *fixture) { f.certbotLink(f.t, "a.test", "fullchain", "2") },
		"no chain":                         func(f *fixture) { f.remove("le/live/a.test/fullchain.pem") },
		"no key":                           func(f *fixture) { f.remove("le/live/a.test/privkey.pem") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.certbot(t, "a.test", "1", first)
				s := f.scanner("le/live")
				if r, err := s.scan(t.Context()); err != nil || len(r.certificates) != 1 {
					t.Fatal(r, err)
				}
				f.certbotArchive("a.test", "2", second)
				between(f)
				go func() {
					time.Sleep(s.retryDelay / 2)
					f.certbotLink(t, "a.test", "fullchain", "2")
					f.certbotLink(t, "a.test", "privkey", "2")
				}()
				r, err := s.scan(t.Context())
				if err != nil || len(r.certificates) != 1 || r.certificates[0].Fingerprint != second.Fingerprint || len(r.problems) != 0 {
					t.Fatal(r, err)
				}
				between(f)
				f.certbotLink(t, "a.test", "fullchain", "1")
				if r, err = s.scan(t.Context()); err != nil || len(r.certificates) != 1 || len(r.problems) == 0 {
					t.Fatal("half of a renewal costs the certificate, or is not told", r, err)
				}
			})
		})
	}
}

func TestPairFolderWithoutAPart(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"fullchain.pem": `"b.test" (its fullchain.pem has no privkey.pem beside it)`,
		"privkey.pem":   `"b.test" (its privkey.pem has no fullchain.pem beside it)`,
	} {
		f := newFixture(t)
		f.certbot(t, "a.test", "1", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
		f.write("le/live/b.test/"+file, []byte("x"))
		r, err := f.scanner("le/live").scan(t.Context())
		if err != nil || len(r.certificates) != 1 || len(r.problems) != 1 || !strings.Contains(r.problems[0].Reason, want) {
			t.Errorf("%s: %v, %v", file, r, err)
		}
	}
}

// The first certificate makes a folder, and its files come one by one.
func TestServeNoticesAFolderThatComes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("le/live/README", []byte("x"))
	sink := certstest.NewSink()
	serve(t, Config{Paths: []string{f.path("le/live")}, PollInterval: never}, sink)
	sink.WaitFor(t, "the empty directory", func(s certstest.Sync) bool { return len(s.Problems) == 0 })
	c := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{})
	f.certbot(t, "a.test", "1", c)
	sink.WaitFor(t, "the certificate", func(s certstest.Sync) bool { return s.Fingerprint("a.test") == c.Fingerprint })
}

// certbot keeps its folders from all but root.
func TestCertbotFoldersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{})
	for name, test := range map[string]struct {
		closed, want string
		inUse        int
	}{
		"live":             {"le/live", "list the directory %s", 0},
		"the archive":      {"le/archive", "enter the directory %s", 0},
		"the archived key": {"le/archive/a.test/privkey1.pem", "read %s", 0},
		"one of two":       {"le/live/b.test", `"b.test" (permission denied)`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.certbot(t, "a.test", "1", c)
			if test.inUse > 0 {
				f.certbot(t, "b.test", "1", c)
			}
			closed, mode := test.closed, os.FileMode(0o600)
			everyoneMayRead(t, f)
			f.chmod(t, closed, mode&0o700)
			r, err := asNobody(func() (result, error) { return f.scanner("le/live").scan(t.Context()) })
			f.chmod(t, closed, 0o700)
			told := ""
			if err != nil {
				told = err.Error()
			}
			for _, p := range r.problems {
				told += p.Reason
			}
			if want := strings.ReplaceAll(test.want, "%s", f.path(test.closed)); !strings.Contains(told, want) || len(r.certificates) != test.inUse {
				t.Errorf("%v, %s; want %s", r.certificates, told, want)
			}
		})
	}
}

// everyoneMayRead opens the fixture, and the folder of the test above it.
func everyoneMayRead(t *testing.T, f *fixture) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(f.root), 0o755); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(f.root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chmod(path, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asNobody runs something with the rights of a user that owns nothing, on a thread
// that ends after it. Where tests do not run as root, they have no other's rights.
func asNobody(do func() (result, error)) (r result, err error) {
	if os.Geteuid() != 0 {
		return do()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its rights
		if err = syscall.Setfsuid(65534); err == nil {
			r, err = do()
		}
	}()
	<-done
	return r, err
}
