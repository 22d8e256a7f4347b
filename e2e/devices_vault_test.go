package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
)

// A Relay is started while Vault is away, and has saved nothing. Devices stay, others are let in or refused as
// before, and changes of instances go on. A service that is new is not opened before Vault has been read.
func TestDevicesWithoutVault(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	vault, tokenFile := vaulttest.Start(t), filepath.Join(t.TempDir(), "token")
	w.certs.fill(ctx, vault, tokenFile)
	w.relay.readVault(vault, tokenFile)
	w.relay.config.Certificates.Grace = 100 * time.Millisecond
	mount, err := vault.Mount(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	w.certs.publish(mount, devicesDomain)
	authority := deviceAuthority(t, "devices")
	if err := mount.WriteAuthority(ctx, "devices", authority.PEM(), authority.TestRevoke(t, certstest.ListOptions{}, 5)); err != nil {
		t.Fatal(err)
	}
	service := func(id, name, port string) {
		w.marathon.service(id, []string{w.tcp.lines(name, nil)}, modeLabel, "tcp", portLabel, port, terminateLabel, "true", clientCALabel, "devices", "HAPROXY_0_VHOST", devicesDomain)
	}
	port, address := w.tcp.port()
	service("/trackers", "trackers", port)
	w.start()
	lost, kept := deviceCertificate(t, authority, 5), deviceCertificate(t, authority, 6)
	open := w.tls.letsIn(address, "trackers", kept)
	w.tls.refuses(address, "trackers", "revoked certificate", lost)

	vault.Stop()
	w.relay.stop()
	w.relay.start()
	w.eventually("Relay serves without certificates", func() error {
		if !strings.Contains(w.relay.log.String(), "event=https_withheld") {
			return errors.New("not yet")
		}
		return nil
	})
	service("/trackers", "moved", port)
	later, unopened := w.tcp.port()
	service("/zz-later", "later", later)
	_ = w.tls.letsIn(address, "moved", kept).Close()
	w.tls.refuses(address, "moved", "revoked certificate", lost)
	w.tls.refuses(address, "moved", "", nil)
	w.admin.acknowledged()
	w.tcp.refused(unopened)
	open.says(t, "trackers")
	if n := w.envoy.draining(); n != 0 {
		t.Errorf("%d listeners or filter chains drain", n)
	}
}
