package dir

import (
	"fmt"
	"testing"

	"relay/certs/certstest"
)

// BenchmarkScan measures the scan that answers a signal: nothing of 5000 files
// changed.
func BenchmarkScan(b *testing.B) {
	ca := certstest.TestCA(b)
	f := &fixture{root: b.TempDir()}
	for i := range 5000 {
		f.write(fmt.Sprintf("d/%d.pem", i), ca.TestIssue(b, []string{fmt.Sprintf("n%d.test", i)}, options{}).Bundle())
	}
	s := f.scanner("d")
	if r, err := s.scan(b.Context()); err != nil || len(r.certificates) != 5000 {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.scan(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
