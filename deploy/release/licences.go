package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// module is one whose packages are in the program.
type module struct {
	path, version string
	dir           string
	licences      []licence
}

// licence is a file of a module.
type licence struct {
	// name is the path in the module.
	name string
	text []byte
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|notice|copyright|patents)([._-].*)?$`)

// grants are the files that say what may be done; the others only go with them.
var grants = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)`)

// modules returns those of the program for an architecture, sorted, and Go itself first.
// A module that no licence can be found of is an error.
func (s sources) modules(arch string) (all []module, err error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,Module", "./cmd/relay")
	cmd.Dir, cmd.Env = s.root, goEnv(arch)
	out, err := output(cmd)
	if err != nil {
		return nil, err
	}
	root, version, err := s.goRoot()
	if err != nil {
		return nil, err
	}
	byPath := map[string]*module{"std": {path: "std", version: version, dir: root}}
	// Debian keeps Go's licence elsewhere; the archives of go.dev have it.
	if err := byPath["std"].add(root); err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		m := byPath[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			byPath[m.path] = m
		}
		if err := m.add(p.Dir); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, m := range byPath {
		errs = append(errs, m.check())
		slices.SortFunc(m.licences, func(a, b licence) int { return strings.Compare(a.name, b.name) })
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return all, errors.Join(errs...)
}

func (s sources) goRoot() (dir, version string, err error) {
	cmd := exec.Command("go", "env", "GOROOT", "GOVERSION")
	cmd.Dir = s.root
	out, err := output(cmd)
	dir, version, _ = strings.Cut(out, "\n")
	return dir, strings.TrimPrefix(version, "go"), err
}

// add takes the licences that hold for the folder of a package: those in it, and in the
// folders above up to the module's.
func (m *module) add(dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || !licenceName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			name, err := filepath.Rel(m.dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			if slices.ContainsFunc(m.licences, func(l licence) bool { return l.name == name }) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			m.licences = append(m.licences, licence{name, text})
		}
		if dir == m.dir {
			return nil
		}
	}
}

// check says that nothing allows to give a module to others.
func (m module) check() error {
	if slices.ContainsFunc(m.licences, func(l licence) bool { return grants.MatchString(filepath.Base(l.name)) }) {
		return nil
	}
	return fmt.Errorf("%s %s has no licence in %s", m.path, m.version, m.dir)
}

// identifiers are those of SPDX (https://spdx.org/licenses/) for the licences of a module.
func (m module) identifiers() (ids []string) {
	for _, l := range m.licences {
		if !grants.MatchString(filepath.Base(l.name)) {
			continue
		}
		for _, match := range licensecheck.Scan(l.text).Match {
			if !match.IsURL && !slices.Contains(ids, match.ID) {
				ids = append(ids, match.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// licencesText is all licences: which module has which, then each once.
func licencesText(modules []module) []byte {
	var out, texts bytes.Buffer
	out.WriteString("The program relay has code of these modules of Go in it, under the licences that follow.\n" +
		"\"go mod download MODULE@VERSION\" fetches the source code of a module; \"std\" is Go itself.\n\n")
	numbers := make(map[string]int)
	for _, m := range modules {
		fmt.Fprintf(&out, "%s %s: %s\n", m.path, m.version, strings.Join(m.identifiers(), ", "))
		for _, l := range m.licences {
			text := string(bytes.TrimSpace(l.text))
			if numbers[text] == 0 {
				numbers[text] = len(numbers) + 1
				fmt.Fprintf(&texts, "\n%s\nText %d\n\n%s\n", strings.Repeat("=", 80), numbers[text], text)
			}
			fmt.Fprintf(&out, "    %s: text %d\n", l.name, numbers[text])
		}
	}
	return append(out.Bytes(), texts.Bytes()...)
}
