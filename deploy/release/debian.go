package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

// writeDeb makes the package that deploy/debian/nfpm.yaml describes.
func (s sources) writeDeb(file, stage, arch string) error {
	dir := filepath.Join(stage, "..", "debian-"+arch)
	if err := s.debianFiles(dir, stage); err != nil {
		return err
	}
	variables := map[string]string{
		"ARCH": arch, "VERSION": s.debianVersion(), "MAINTAINER": maintainer(), "STAGE": stage, "DEBIAN": dir, "SOURCE": filepath.Join(s.root, "deploy", "debian"),
	}
	text, err := os.ReadFile(filepath.Join(s.root, "deploy", "debian", "nfpm.yaml"))
	if err != nil {
		return err
	}
	config, err := nfpm.Parse(strings.NewReader(os.Expand(string(text), func(name string) string { return variables[name] })))
	if err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info.MTime = s.date
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	for _, c := range info.Contents {
		c.FileInfo.MTime = s.date
	}
	var out bytes.Buffer
	if err := deb.Default.Package(info, &out); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func maintainer() string {
	if m := os.Getenv("MAINTAINER"); m != "" {
		return m
	}
	return "Relay's maintainers <relay@example.com>"
}

// debianFiles writes what a package needs in another form than the tar.gz: see
// https://www.debian.org/doc/debian-policy/ch-docs.html
func (s sources) debianFiles(dir, stage string) error {
	files := make(map[string][]byte)
	pages, err := filepath.Glob(filepath.Join(stage, "man", "*"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if files["man/"+filepath.Base(page)+".gz"], err = os.ReadFile(page); err != nil {
			return err
		}
	}
	files["changelog.Debian.gz"] = fmt.Appendf(nil, "relay (%s) stable; urgency=medium\n\n  * Relay %s: see changelog.gz.\n\n -- %s  %s\n",
		s.debianVersion(), s.version, maintainer(), s.date.Format(time.RFC1123Z))
	if files["changelog.gz"], err = os.ReadFile(filepath.Join(stage, "CHANGELOG.md")); errors.Is(err, fs.ErrNotExist) {
		files["changelog.gz"] = []byte("The sources of this version have no list of changes.\n")
	} else if err != nil {
		return err
	}
	if files["copyright"], err = s.copyright(stage); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if filepath.Ext(name) == ".gz" {
			if text, err = compress(text); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyright is the licence of Relay, if it has one, and of all that is in the program.
func (s sources) copyright(stage string) ([]byte, error) {
	own, err := os.ReadFile(filepath.Join(stage, "LICENSE"))
	if errors.Is(err, fs.ErrNotExist) {
		own = []byte("The sources of Relay state no licence. Ask its authors before you copy it.\n")
	} else if err != nil {
		return nil, err
	}
	others, err := os.ReadFile(filepath.Join(stage, "THIRD_PARTY_LICENSES"))
	return bytes.Join([][]byte{[]byte("Relay is copyright of its authors.\n"), own, others}, []byte("\n")), err
}
