// Command release builds what is given to others: the program for each architecture, in a
// tar.gz and a Debian package, with the licences of all that is in it and a bill of
// materials. The same sources, version and Go make the same bytes, wherever they are built:
// see docs/packages.md. It is a module of its own, so that Relay does not depend on what
// only packages need.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the folder with Relay's sources")
	flag.StringVar(&o.out, "out", "dist", "where to write")
	arch := flag.String("arch", "amd64,arm64", "architectures, as Go calls them")
	what := flag.String("what", "tar,deb", "what to write: tar (tar.gz), deb, image (with buildah)")
	flag.Parse()
	o.arch, o.what = strings.Split(*arch, ","), strings.Split(*what, ",")
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

type options struct {
	root, out  string
	arch, what []string
}

// run builds everything in a folder of its own, so that what is written is whole.
func run(o options) error {
	if i := slices.IndexFunc(o.what, func(w string) bool { return !slices.Contains([]string{"tar", "deb", "image"}, w) }); i >= 0 {
		return fmt.Errorf("-what has %q: use tar, deb or image", o.what[i])
	}
	var err error
	for _, path := range []*string{&o.root, &o.out} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	s, err := readSources(o.root)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "relay-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	described := filepath.Join(work, "described")
	if err := s.describe(described); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for _, arch := range o.arch {
		if err := s.release(o, arch, described, filepath.Join(work, arch)); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	return s.writeSums(o.out)
}

// release writes what is asked for of one architecture.
func (s sources) release(o options, arch, described, stage string) error {
	fmt.Printf("== Relay %s for %s\n", s.version, arch)
	materials, err := s.stage(stage, arch, described)
	if err != nil {
		return err
	}
	base := fmt.Sprintf("relay-%s-linux-%s", s.version, arch)
	for _, kind := range o.what {
		var file string
		switch kind {
		case "tar":
			file = filepath.Join(o.out, base+".tar.gz")
			if err = writeTar(file, base, stage, s.date); err == nil {
				err = os.WriteFile(filepath.Join(o.out, base+".cdx.json"), materials, 0o644)
			}
		case "deb":
			file = filepath.Join(o.out, fmt.Sprintf("relay_%s_%s.deb", s.debianVersion(), arch))
			err = s.writeDeb(file, stage, arch)
		case "image":
			file = filepath.Join(o.out, base+".oci.tar.gz")
			err = s.writeImage(file, stage, arch)
		}
		if err != nil {
			return err
		}
		fmt.Println("   " + file)
	}
	return nil
}
