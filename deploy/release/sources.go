package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sources are the files that are built, and what is told of them.
type sources struct {
	root string
	// version is of the form that Debian takes: it begins with a digit.
	version string
	// date is put where a time is needed, since the time of the build is another each time.
	date time.Time
}

var validVersion = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`)

// readSources takes version and date from the variables VERSION and SOURCE_DATE_EPOCH
// (https://reproducible-builds.org/docs/source-date-epoch/), or else from Git.
func readSources(root string) (sources, error) {
	s := sources{root: root, version: os.Getenv("VERSION")}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		var err error
		if epoch, err = s.git("log", "-1", "--format=%ct"); err != nil {
			return s, fmt.Errorf("no date: %w; set SOURCE_DATE_EPOCH to the seconds since 1970 of the sources", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return s, fmt.Errorf("SOURCE_DATE_EPOCH is %q: want seconds since 1970", epoch)
	}
	s.date = time.Unix(seconds, 0).UTC()
	if s.version == "" {
		if s.version, err = s.gitVersion(); err != nil {
			return s, fmt.Errorf("no version: %w; set VERSION", err)
		}
	}
	if !validVersion.MatchString(s.version) {
		return s, fmt.Errorf("version %q: want a digit, then letters, digits and . + ~", s.version)
	}
	return s, nil
}

// gitVersion is 1.2.3 for the tag v1.2.3. A commit after it is 1.2.3.DATE.HASH, so that it
// is newer than 1.2.3 and older than 1.2.4. Sources that were changed end in .dirty.
func (s sources) gitVersion() (string, error) {
	hash, err := s.git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "", err
	}
	version := "0"
	tag, err := s.git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
	if err == nil {
		version = strings.TrimPrefix(tag, "v")
	}
	if _, err := s.git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"); err != nil {
		version += "." + s.date.Format("20060102150405") + "." + hash
	}
	if changed, err := s.git("status", "--porcelain"); err != nil {
		return "", err
	} else if changed != "" {
		version += ".dirty"
	}
	return version, nil
}

// debianVersion has a revision, as the package has a changelog of its own.
func (s sources) debianVersion() string { return s.version + "-1" }

func (s sources) git(args ...string) (string, error) {
	return output(exec.Command("git", append([]string{"-C", s.root}, args...)...))
}

// goEnv is the environment of go for an architecture. What else could change the bytes is
// set to its default.
func goEnv(arch string) []string {
	return append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off")
}

// build builds cmd/relay. Without the paths of this machine, and without what Go takes from
// Git: it is not there in each copy of the sources.
func (s sources) build(binary, arch, tags string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", tags,
		"-ldflags", "-s -w -buildid= -X main.build="+s.version, "-o", binary, "./cmd/relay")
	cmd.Dir, cmd.Env = s.root, goEnv(arch)
	_, err := output(cmd)
	return err
}

// describe writes man pages, completion of shells and the settings file: see
// cmd/relay/describe.go.
func (s sources) describe(dir string) error {
	arch, err := output(exec.Command("go", "env", "GOHOSTARCH"))
	if err != nil {
		return err
	}
	program := dir + ".program"
	if err := s.build(program, arch, "describe"); err != nil {
		return err
	}
	cmd := exec.Command(program, dir)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(s.date.Unix(), 10))
	_, err = output(cmd)
	return err
}

// stage puts together what the tar.gz has. The package takes it from there. It returns the
// bill of materials.
func (s sources) stage(dir, arch, described string) (materials []byte, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "relay")
	if err := s.build(binary, arch, ""); err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, os.DirFS(described)); err != nil {
		return nil, err
	}
	modules, err := s.modules(arch)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "THIRD_PARTY_LICENSES"), licencesText(modules), 0o644); err != nil {
		return nil, err
	}
	if materials, err = s.billOfMaterials(binary, modules); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "relay.cdx.json"), materials, 0o644); err != nil {
		return nil, err
	}
	return materials, s.stageFiles(dir)
}

// stageFiles copies what is as it is in the sources.
func (s sources) stageFiles(dir string) error {
	for from, to := range map[string]string{
		"deploy/relay.service": "systemd/relay.service", "deploy/relay-envoy@.service": "systemd/relay-envoy@.service",
		"deploy/sysusers.conf": "systemd/sysusers.d/relay.conf", "deploy/alerts.yaml": "examples/alerts.yaml", "deploy/prometheus.yml": "examples/prometheus.yml",
		"deploy/alertmanager.yml": "examples/alertmanager.yml", "deploy/blackbox.yml": "examples/blackbox.yml",
		"deploy/grafana/dashboards/relay.json": "examples/grafana-relay.json", "deploy/grafana/dashboards/envoy.json": "examples/grafana-envoy.json",
		"deploy/grafana/dashboards/relay-graphite.json": "examples/grafana-relay-graphite.json",
		"deploy/collectd.conf":                          "examples/collectd.conf", "deploy/monit.conf": "examples/monit.conf", "deploy/nagios.cfg": "examples/nagios.cfg",
		"deploy/grafana/dashboards/probes.json": "examples/grafana-probes.json",
		"README.md":                             "README.md",
	} {
		if err := copyFile(filepath.Join(s.root, from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	for _, name := range []string{"LICENSE", "CHANGELOG.md"} {
		if err := copyFile(filepath.Join(s.root, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(s.root, "docs", "*.md"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := copyFile(page, filepath.Join(dir, "docs", filepath.Base(page))); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// output runs a command and returns what it prints, without the last line break.
func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
