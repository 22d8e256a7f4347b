package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
)

const (
	terminateLabel, clientCALabel = "RELAY_0_TLS_TERMINATE", "RELAY_0_CLIENT_CA"
	devicesDomain                 = "devices.test"
)

// deviceAuthority signs the certificates of devices.
func deviceAuthority(t *testing.T, name string) *certstest.Authority {
	t.Helper()
	return certstest.TestRoot(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
}

// deviceCertificate is that of a device; a serial of 0 is any.
func deviceCertificate(t *testing.T, a *certstest.Authority, serial int64) *certstest.Issued {
	t.Helper()
	return a.TestIssue(t, []string{"device"}, certstest.Options{Serial: serial})
}

// connect opens a connection of a device to the service of this name; nil is a device without certificate.
func (c *tlsClients) connect(address, service string, device *certstest.Issued) (lineConn, error) {
	config := c.certs.ca.ClientTLS()
	config.ServerName = devicesDomain
	if device != nil {
		own, err := tls.X509KeyPair(device.Leaf, device.Key)
		if err != nil {
			c.t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	conn, err := c.tcp.dial(address, nil, "")
	if err != nil {
		return conn, err
	}
	secure := tls.Client(conn, config)
	conn = lineConn{secure, bufio.NewReader(secure)}
	got, err := conn.line()
	if err != nil || got != "this is "+service {
		_ = conn.Close()
		return conn, fmt.Errorf("%q, %w", got, err)
	}
	return conn, nil
}

// letsIn waits until a device gets in, and refuses until it is told that its certificate is none.
func (c *tlsClients) letsIn(address, service string, device *certstest.Issued) (conn lineConn) {
	c.t.Helper()
	eventually(c.t, "a device gets in", func() (err error) {
		conn, err = c.connect(address, service, device)
		return err
	})
	return conn
}

func (c *tlsClients) refuses(address, service, why string, device *certstest.Issued) {
	c.t.Helper()
	eventually(c.t, "a device is refused", func() error {
		conn, err := c.connect(address, service, device)
		switch {
		case err == nil:
			_ = conn.Close()
			return errors.New("it gets in")
		case !strings.Contains(err.Error(), "remote error: tls: "+why):
			return err
		}
		return nil
	})
}

// authorityStore is where an authority and its lists are.
type authorityStore struct {
	subject string // of its problems
	put     func(certificates, lists []byte)
	remove  func()
}

func directoryStore(w *world) authorityStore {
	w.certs.issue(devicesDomain)
	return authorityStore{
		subject: filepath.Join(w.certs.dir, "devices.ca.pem"),
		put: func(certificates, lists []byte) {
			w.certs.write("devices.ca.pem", certificates)
			if lists != nil {
				w.certs.write("devices.crl.pem", lists)
			}
		},
		remove: func() {
			w.certs.remove("devices.ca.pem")
			w.certs.remove("devices.crl.pem")
		},
	}
}

// vaultStore writes to Vault and calls the hook: Vault is not polled.
func vaultStore(w *world) authorityStore {
	mount := w.relay.useVault()
	w.certs.publish(mount, devicesDomain)
	hook := func() {
		if w.relay.running == nil {
			return
		}
		if status, answer := w.admin.post("usr1"); status != http.StatusNoContent {
			w.t.Errorf("the hook answers %d: %s", status, answer)
		}
	}
	ok := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return authorityStore{
		subject: "authorities/devices",
		put: func(certificates, lists []byte) {
			ok(mount.WriteAuthority(w.t.Context(), "devices", certificates, lists))
			hook()
		},
		remove: func() {
			ok(mount.DeleteAll(w.t.Context(), "authorities/devices"))
			for range 5 { // Vault may be behind
				hook()
			}
		},
	}
}

// A list of revoked certificates ends what is revoked at its next handshake, and no connection. So do
// authorities that come, go, and replace each other.
func TestDevicesAreRevoked(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*world) authorityStore{"directory": directoryStore, "vault": vaultStore} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			devices := store(w)
			old, next, stranger := deviceAuthority(t, "old"), deviceAuthority(t, "next"), deviceAuthority(t, "old")
			devices.put(old.PEM(), nil)
			w.start()
			port, address := w.tcp.port()
			w.marathon.service("/trackers", []string{w.tcp.lines("trackers", nil)}, modeLabel, "tcp", portLabel, port, terminateLabel, "true", clientCALabel, "devices", "HAPROXY_0_VHOST", devicesDomain)
			lost, kept, renewed := deviceCertificate(t, old, 5), deviceCertificate(t, old, 6), deviceCertificate(t, next, 5)
			open := []lineConn{w.tls.letsIn(address, "trackers", lost), w.tls.letsIn(address, "trackers", kept)}
			w.tls.refuses(address, "trackers", "", nil)
			w.tls.refuses(address, "trackers", "", deviceCertificate(t, stranger, 6))
			stay := func() {
				t.Helper()
				for _, conn := range open {
					conn.says(t, "trackers")
				}
			}

			lists := old.TestRevoke(t, certstest.ListOptions{}, 5)
			devices.put(old.PEM(), lists)
			w.tls.refuses(address, "trackers", "revoked certificate", lost)
			_ = w.tls.letsIn(address, "trackers", kept).Close()
			stay()
			w.eventually("people are told", func() error { return toldOfRevocation(w, 1) })

			devices.put(old.PEM(), lists[:len(lists)/2])
			w.admin.problem(devices.subject, "the last good revocation lists stay in use")
			w.tls.refuses(address, "trackers", "revoked certificate", lost)
			_ = w.tls.letsIn(address, "trackers", kept).Close()

			both := certstest.Join(old.PEM(), next.PEM())
			devices.put(both, certstest.Join(lists, next.TestRevoke(t, certstest.ListOptions{})))
			open = append(open, w.tls.letsIn(address, "trackers", renewed))
			_ = w.tls.letsIn(address, "trackers", kept).Close()
			w.tls.refuses(address, "trackers", "revoked certificate", lost)
			devices.put(next.PEM(), next.TestRevoke(t, certstest.ListOptions{}))
			w.tls.refuses(address, "trackers", "", kept)
			_ = w.tls.letsIn(address, "trackers", renewed).Close()
			stay()

			devices.remove()
			w.tls.refuses(address, "trackers", "", renewed)
			w.admin.problem("/trackers", "no certificate store has it")
			stay()
			devices.put(next.PEM(), nil)
			_ = w.tls.letsIn(address, "trackers", renewed).Close()
			stay()
			w.envoy.nothingRejected()
		})
	}
}

// toldOfRevocation is what is missing of what people are told of revoked certificates.
func toldOfRevocation(w *world, revoked int) error {
	if _, page := w.admin.get("/authorities"); !strings.Contains(page, "connections that are open stay") {
		return errors.New("the page does not say what stays open")
	}
	var told struct {
		Authorities []struct {
			Name       string
			Services   []string
			Revocation struct{ Count int }
		}
	}
	w.admin.read("/api/v1/authorities", &told)
	if len(told.Authorities) != 1 || told.Authorities[0].Revocation.Count != revoked || strings.Join(told.Authorities[0].Services, " ") != "/trackers" {
		return fmt.Errorf("the API says %+v", told)
	}
	if log := w.relay.log.String(); !strings.Contains(log, "event=authorities_changed") || !strings.Contains(log, "connections that are open stay") {
		return errors.New("the log does not tell")
	}
	return nil
}

// Authorities and lists stand in for a store that is away at the start: who was let in is, and who was
// revoked is not.
func TestAuthoritiesAreSaved(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	vault, tokenFile := vaulttest.Start(t), filepath.Join(t.TempDir(), "token")
	w.certs.fill(ctx, vault, tokenFile)
	w.relay.readVault(vault, tokenFile)
	mount, err := vault.Mount(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	w.certs.publish(mount, devicesDomain)
	authority := deviceAuthority(t, "devices")
	if err := mount.WriteAuthority(ctx, "devices", authority.PEM(), authority.TestRevoke(t, certstest.ListOptions{}, 5)); err != nil {
		t.Fatal(err)
	}
	port, address := w.tcp.port()
	w.marathon.service("/trackers", []string{w.tcp.lines("trackers", nil)}, modeLabel, "tcp", portLabel, port, terminateLabel, "true", clientCALabel, "devices", "HAPROXY_0_VHOST", devicesDomain)
	w.start()
	lost, kept := deviceCertificate(t, authority, 5), deviceCertificate(t, authority, 6)
	_ = w.tls.letsIn(address, "trackers", kept).Close()
	w.tls.refuses(address, "trackers", "revoked certificate", lost)

	vault.Stop()
	fresh(w)
	_ = w.tls.letsIn(address, "trackers", kept).Close()
	w.tls.refuses(address, "trackers", "revoked certificate", lost)
	w.admin.problem("vault", "serving authorities as saved at 20")
	isEncrypted(w, "authorities-vault.state")
}
