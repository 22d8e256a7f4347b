package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// image is what a registry has of an image: see
// https://github.com/opencontainers/image-spec/blob/main/config.md
type image struct {
	Config struct {
		User            string
		Entrypoint, Cmd []string
		Volumes         map[string]struct{}
	}
}

// readImage reads an archive of OCI, and returns its one layer.
func readImage(t *testing.T, file string) (config image, layer []byte) {
	t.Helper()
	files, _ := archive(t, file)
	type blob struct{ Digest string }
	var index struct{ Manifests []blob }
	var manifest struct {
		Config blob
		Layers []blob
	}
	read := func(name string, into any) {
		if err := json.Unmarshal(files[name], into); err != nil {
			t.Fatalf("%s in the archive: %v", name, err)
		}
	}
	name := func(b blob) string { return "blobs/" + strings.ReplaceAll(b.Digest, ":", "/") }
	read("index.json", &index)
	read(name(index.Manifests[0]), &manifest)
	read(name(manifest.Config), &config)
	if len(manifest.Layers) != 1 {
		t.Fatalf("the image has %d layers, want 1", len(manifest.Layers))
	}
	return config, files[name(manifest.Layers[0])]
}

// The image runs as it does with "docker run --read-only": as its own user, with a root that
// cannot be written to, and a state directory that can.
func TestImage(t *testing.T) {
	m := startMachine(t)
	config, layer := readImage(t, filepath.Join(dist(t), "relay-1.2.3-linux-amd64.oci.tar.gz"))
	if c := config.Config; c.User != "65532:65532" || strings.Join(append(c.Entrypoint, c.Cmd...), " ") != "/usr/bin/relay serve" || len(c.Volumes) > 0 {
		t.Errorf("the image is %+v", c)
	}
	file := filepath.Join(t.TempDir(), "layer")
	if err := os.WriteFile(file, layer, 0o600); err != nil {
		t.Fatal(err)
	}
	// A runtime makes the places to mount to before it makes the root read-only.
	dir := filepath.Dir(m.root) + "/image"
	if out, err := m.outside(`cd ` + dir + ` 2>/dev/null || { mkdir ` + dir + `; cd ` + dir + `; }
tar --extract --gzip --preserve-permissions --numeric-owner --file ` + file + `
mkdir -p etc/relay
find . -type f -printf '%p %m %U\n' -o -name relay -type d -printf '%p %m %U\n' | sort`).CombinedOutput(); err != nil || string(out) != `./etc/relay 755 0
./etc/ssl/certs/ca-certificates.crt 644 0
./usr/bin/relay 755 0
./usr/share/doc/relay 755 0
./usr/share/doc/relay/THIRD_PARTY_LICENSES 644 0
./var/lib/relay 700 65532
` {
		t.Fatalf("the image has %s (%v)", out, err)
	}
	for _, script := range []string{
		`printf '%s\n' 'apps:' '- {id: /web, ports: [{domains: [shop.test], endpoints: [{address: "10.0.0.7:80"}]}]}' > ` + dir + `/etc/relay/apps.yaml`,
		`mount --bind ` + dir + ` ` + dir + ` && mount -o remount,bind,ro ` + dir,
		`mount -t tmpfs -o mode=700,uid=65532,gid=65532 tmpfs ` + dir + `/var/lib/relay`,
	} {
		if out, err := m.outside(script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	// Without any variable of this machine, and without /proc and /dev.
	relay := `exec chroot --userspec=` + config.Config.User + ` ` + dir + ` ` + config.Config.Entrypoint[0]
	settings := ` --source-file /etc/relay/apps.yaml --state-dir /var/lib/relay`
	if out, err := m.outside(relay + ` check` + settings).CombinedOutput(); err != nil {
		t.Errorf("relay check: %v\n%s", err, out)
	}
	served := start(t, "relay", m.outside(relay+` `+config.Config.Cmd[0]+settings))
	eventually(t, m.outside, `curl -fsS http://127.0.0.1:9090/readyz`)
	if out := eventually(t, m.outside, `find `+dir+`/var/lib/relay -type f -printf '%U %m\n' 2>/dev/null | grep .`); strings.ReplaceAll(out, "65532 600\n", "") != "" {
		t.Errorf("saved state belongs to %s, want 65532 600", out)
	}
	if out, err := m.outside(`touch ` + dir + `/x`).CombinedOutput(); err == nil {
		t.Errorf("the root can be written to: %s", out)
	}
	if err := served.stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
