package deploy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	releaseVersion = "1.2.3"
	releaseDate    = "1700000000"
)

// builds is the folder of released, once there is one.
var builds string

// kinds are what is built: buildah may need more than a user has who is not root.
func kinds() string {
	if os.Geteuid() == 0 {
		return "tar,deb,image"
	}
	return "tar,deb"
}

// released builds everything that is published for amd64, once, into a folder that TestMain
// removes. The sources are a copy, which Git does not know.
var released = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "relay-packages-"); err != nil {
		return dir, err
	}
	builds = dir
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "release"), ".")
	build.Dir = "release"
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build in deploy/release: %w\n%s", err, out)
	}
	return dir, release(dir, "first")
})

// release copies the sources into a folder and builds them there.
func release(dir, name string, environment ...string) error {
	root := filepath.Join(dir, name, "sources")
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	files, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(string(files), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join("..", file))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted and not committed yet
		}
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, file), text, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command(filepath.Join(dir, "release"), "-root", root, "-out", filepath.Join(dir, name, "dist"), "-arch", "amd64", "-what", kinds())
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "VERSION="+releaseVersion, "SOURCE_DATE_EPOCH="+releaseDate), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("release: %w\n%s", err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if builds != "" {
		_ = os.RemoveAll(builds)
	}
	os.Exit(code)
}

// dist is the folder with what is published.
func dist(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil && strings.Contains(kinds(), "image") {
		t.Fatal(`the image is built with buildah: "make tools" installs it`)
	}
	dir, err := released()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "first", "dist")
}

// The same sources make the same bytes, whoever builds them where and when.
func TestReleaseIsReproducible(t *testing.T) {
	first := dist(t)
	dir := filepath.Dir(filepath.Dir(first))
	old := syscall.Umask(0o077)
	err := release(dir, "another/place", "TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "RELAY_HTTP=127.0.0.9:80", "GOFLAGS=-v", "GOAMD64=v3")
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"SHA256SUMS", "relay-1.2.3-linux-amd64.cdx.json", "relay-1.2.3-linux-amd64.oci.tar.gz", "relay-1.2.3-linux-amd64.tar.gz", "relay_1.2.3-1_amd64.deb"}
	if !strings.Contains(kinds(), "image") {
		want = slices.DeleteFunc(want, func(name string) bool { return strings.Contains(name, ".oci.") })
	}
	entries, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		a, err := os.ReadFile(filepath.Join(first, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "another/place/dist", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s has other bytes when it is built elsewhere", e.Name())
		}
		for _, word := range []string{"relay-packages-", "another/place"} {
			if bytes.Contains(a, []byte(word)) {
				t.Errorf("%s has %s in it, the folder of the build", e.Name(), word)
			}
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("published are %q, want %q", names, want)
	}
	sums := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	sums.Dir = first
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != len(want)-1 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// archive returns the files of a tar.gz, by their names, and whether they may be executed.
func archive(t *testing.T, file string) (files map[string][]byte, executable map[string]bool) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	uncompressed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files, executable = make(map[string][]byte), make(map[string]bool)
	for in := tar.NewReader(uncompressed); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, executable
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if files[header.Name], err = io.ReadAll(in); err != nil {
				t.Fatal(err)
			}
			executable[header.Name] = header.Mode&0o111 != 0
		}
	}
}

// Each module that is linked in is in the bill of materials, and so is its licence.
func TestReleaseNamesAllModules(t *testing.T) {
	dir := dist(t)
	files, executable := archive(t, filepath.Join(dir, "relay-1.2.3-linux-amd64.tar.gz"))
	const base = "relay-1.2.3-linux-amd64/"
	if !executable[base+"relay"] {
		t.Error("the program may not be executed")
	}
	program := filepath.Join(t.TempDir(), "relay")
	if err := os.WriteFile(program, files[base+"relay"], 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "version").CombinedOutput()
	if err != nil || string(out) != "relay 1.2.3\n" {
		t.Errorf("relay version: %v, %s", err, out)
	}
	var bom struct {
		Components []struct {
			Name, Version string
			Licenses      []struct{ License struct{ ID string } }
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "relay-1.2.3-linux-amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, c := range bom.Components {
		listed[c.Name+" "+c.Version] = true
		if len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" {
			t.Errorf("no licence is known of %s", c.Name)
		}
	}
	out, err = exec.Command("go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "dep" {
			continue
		}
		linked++
		if module := fields[1] + " " + fields[2]; !listed[module] {
			t.Errorf("the bill of materials lacks %s", module)
		} else if !bytes.Contains(files[base+"THIRD_PARTY_LICENSES"], []byte("\n"+module+": ")) {
			t.Errorf("THIRD_PARTY_LICENSES lacks %s", module)
		}
	}
	if linked < 20 || len(bom.Components) != linked+1 {
		t.Errorf("%d modules are linked, and the bill of materials has %d with Go itself", linked, len(bom.Components))
	}
}
