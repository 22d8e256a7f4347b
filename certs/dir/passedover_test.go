package dir

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/certstest"
)

// What looks as if it were meant to be served is told of; what others keep beside it is not.
func TestPassedOver(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files []string
		want  string
	}{
		"a certificate alone":         {[]string{"b.crt"}, `"b.crt" (its key is not beside it: b.key)`},
		"a key alone":                 {[]string{"b.key"}, `"b.key" (its certificate is not beside it: b.crt)`},
		"a key beside a.pem":          {[]string{"a.key"}, `"a.key" (the key of a.pem is looked for in it, or in a.pem.key)`},
		"other endings":               {[]string{"b.cer", "c.p12", "d.PEM"}, `"b.cer" (only names are read that end in .pem, or in .crt and .key), "c.p12" (`},
		"a folder":                    {[]string{"live/b.test/fullchain.pem", "b.test/privkey1.pem"}, `"b.test" (directories below are not read)`},
		"more than are named":         {[]string{"b.crt", "c.crt", "d.crt", "e.crt", "f.crt"}, `"d.crt" (its key is not beside it: d.key) and 2 more`},
		"what is none of ours":        {[]string{"README", "README.md", "notes.txt", ".hidden.crt", "b.pem.bak", "c.crt~", "#d.crt#", "e.crt.swp", "f.csr", "old/notes.txt", "ca.crt", "client.key"}, ""},
		"a volume of Kubernetes":      {[]string{"..2026/tls.crt", "..2026/ca.crt"}, ""},
		"a folder that cannot matter": {[]string{"lost+found/x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write("d/a.pem", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle())
			for _, file := range test.files {
				f.write("d/"+file, []byte("x"))
			}
			r, err := f.scanner("d").scan(t.Context())
			if err != nil || len(r.certificates) != 1 {
				t.Fatal(r, err)
			}
			if test.want == "" && len(r.problems) == 0 {
				return
			}
			if len(r.problems) != 1 || test.want == "" || !strings.Contains(r.problems[0].Reason, test.want) || r.problems[0].Subject != f.path("d") {
				t.Errorf("problems %v, want one of %s with %q", r.problems, f.path("d"), test.want)
			}
		})
	}
}

// Folders are looked into up to a limit, at each scan.
func TestPassedOverFoldersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 * maxFolders {
		f.write(fmt.Sprintf("d/%03d/b.pem", i), nil)
	}
	f.link(t, "000", "d/linked")
	found, err := f.scanner("d").layout.list()
	if err != nil || len(found.passedOver) != maxFolders {
		t.Errorf("%d are told of, want %d (%v)", len(found.passedOver), maxFolders, err)
	}
}

// A link to a folder is a folder.
func TestPassedOverLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("e/b.pem", nil)
	f.write("d/x", nil)
	f.link(t, "../e", "d/linked")
	f.link(t, "nowhere", "d/broken")
	r, err := f.scanner("d").scan(t.Context())
	if err != nil || len(r.problems) != 1 || !strings.Contains(r.problems[0].Reason, `"linked" (directories below are not read)`) {
		t.Error(r, err)
	}
}

// What another path reads is not passed over.
func TestPassedOverHereAndReadThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	bundle := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}).Bundle()
	f.write("d/own.cer", bundle)
	f.write("d/more/b.pem", bundle)
	r, err := f.scanner("d", "d/own.cer", "d/more").scan(t.Context())
	if err != nil || len(r.certificates) != 2 || len(r.problems) != 0 {
		t.Error(r, err)
	}
}

// A certificate may be written just before its key: that is no problem.
func TestPairIsWrittenOneByOne(t *testing.T) {
	t.Parallel()
	pair := certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.write("d/a.crt", certstest.Join(pair.Leaf, pair.Chain))
		s := f.scanner("d")
		go func() {
			time.Sleep(s.retryDelay / 2)
			f.write("d/a.key", pair.Key)
		}()
		r, err := s.scan(t.Context())
		if err != nil || len(r.certificates) != 1 || len(r.problems) != 0 {
			t.Fatal(r, err)
		}
	})
}
