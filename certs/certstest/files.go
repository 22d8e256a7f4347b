package certstest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPair writes the certificate with its chain to cert.pem, and the key to
// key.pem, in a directory. It returns their paths.
func (i *Issued) TestPair(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, data := range map[string][]byte{cert: Join(i.Leaf, i.Chain), key: i.Key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
