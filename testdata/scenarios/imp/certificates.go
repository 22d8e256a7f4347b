package imp

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"relay/certs/certstest"
	"relay/testdata/scenarios/scenario"
)

// shows says whether the service shows a certificate.
func (f *field) shows(want *certstest.Issued) error {
	config := f.devices[1].config.Clone()
	conn, err := tls.Dial("tcp", f.devices[1].address, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	if got := hex.EncodeToString(sum[:]); got != want.Fingerprint {
		return fmt.Errorf("it shows %.8s, not %.8s", got, want.Fingerprint)
	}
	return nil
}

// revoke revokes the certificate of a device, and waits until that is not let in any more.
func (f *field) revoke(r *scenario.Run, stolen *device) {
	f.authority.revoke(stolen.config.Certificates[0])
	list, err := f.authority.list()
	r.Must(err)
	r.Must(errors.Join(r.Directory.PutFile("devices.crl.pem", list), r.ReadCertificates()))
	thief := newDevice(stolen.id, stolen.address, stolen.config.RootCAs, &stolen.config.Certificates[0])
	r.Eventually("the device to be kept out", func() error {
		if f.tries(r, thief) == nil {
			return errors.New("it is let in")
		}
		return nil
	})
	reached := f.system.reached.Load()
	r.Check(f.tries(r, thief) != nil && f.system.reached.Load() == reached, "the stolen device reaches a server")
}

// issuePEM makes a certificate for one more device.
func (f *field) issuePEM(id string) (certificate, key []byte, err error) {
	issued, err := f.authority.issue(tenant+id, time.Now().AddDate(0, 0, 1))
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
