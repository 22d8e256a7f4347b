package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// authorities is where Debian and most others keep the authorities trusted for https://.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// writeImage builds deploy/Containerfile with buildah, which needs neither a daemon nor
// another image, and writes it as an archive of OCI
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
func (s sources) writeImage(file, stage, arch string) error {
	work := filepath.Join(stage, "..", "image-"+arch)
	context := filepath.Join(work, "context")
	if err := s.imageContext(context, stage); err != nil {
		return err
	}
	// A storage of its own: the images of this machine stay as they are.
	buildah := func(args ...string) error {
		storage := []string{"--root", filepath.Join(work, "storage"), "--runroot", filepath.Join(work, "run"), "--storage-driver", "vfs"}
		_, err := output(exec.Command("buildah", append(storage, args...)...))
		return err
	}
	layout := filepath.Join(work, "layout")
	if err := buildah("bud", "--isolation", "chroot", "--layers=false", "--identity-label=false", "--platform", "linux/"+arch,
		"--timestamp", strconv.FormatInt(s.date.Unix(), 10), "--tag", "relay:"+s.version,
		"--file", filepath.Join(s.root, "deploy", "Containerfile"), context); err != nil {
		return err
	}
	if err := buildah("push", "--quiet", "relay:"+s.version, "oci:"+layout+":relay:"+s.version); err != nil {
		return err
	}
	// Without it, a user other than root could not delete the files of others.
	if err := buildah("rmi", "--all", "--force"); err != nil {
		return err
	}
	return writeTar(file, ".", layout, s.date)
}

// imageContext writes what deploy/Containerfile copies.
func (s sources) imageContext(dir, stage string) error {
	if err := os.MkdirAll(filepath.Join(dir, "state", "relay"), 0o700); err != nil {
		return err
	}
	for from, to := range map[string]string{
		filepath.Join(stage, "relay"): "relay", filepath.Join(stage, "THIRD_PARTY_LICENSES"): "THIRD_PARTY_LICENSES", authorities: "ca-certificates.crt",
	} {
		if err := copyFile(from, filepath.Join(dir, to)); err != nil {
			return fmt.Errorf("%w (Debian: apt-get install ca-certificates)", err)
		}
	}
	// What the umask of whoever builds would take away.
	for name, mode := range map[string]os.FileMode{"relay": 0o755, "THIRD_PARTY_LICENSES": 0o644, "ca-certificates.crt": 0o644} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			return err
		}
	}
	return nil
}
