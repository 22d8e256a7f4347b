package certstest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// ListOptions are what a list of revoked certificates is made with; the zero value gives one that was
// made an hour ago, for a week, of version number 1.
type ListOptions struct {
	ThisUpdate, NextUpdate time.Time
	Number                 int64
	// Change changes what crypto/x509 makes.
	Change func(*x509.RevocationList)
}

// TestRevoke makes a list of revoked certificates (CRL), in PEM, that names the serial numbers.
func (a *Authority) TestRevoke(t testing.TB, options ListOptions, serials ...int64) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(max(1, options.Number)), ThisUpdate: options.ThisUpdate, NextUpdate: options.NextUpdate}
	if list.ThisUpdate.IsZero() {
		list.ThisUpdate = time.Now().Add(-time.Hour)
	}
	if list.NextUpdate.IsZero() {
		list.NextUpdate = list.ThisUpdate.AddDate(0, 0, 7)
	}
	for _, serial := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: list.ThisUpdate})
	}
	if options.Change != nil {
		options.Change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}
