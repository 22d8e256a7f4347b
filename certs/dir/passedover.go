package dir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relay/internal/problem"
)

const (
	// maxFolders and maxInFolder bound how far a look into the folders of a directory
	// goes at each scan, which only serves to say that they are not read.
	maxFolders, maxInFolder = 20, 50
	// maxPassedOver is how many files a problem names; it counts the others.
	maxPassedOver = 3

	// authorityFile is what Kubernetes and cert-manager put beside a pair. Nobody means it
	// to be served.
	authorityFile = "ca.crt"
)

// otherForms are the endings of files that hold certificates or keys, and that are not read.
var otherForms = []string{".pem", ".crt", ".key", ".cer", ".cert", ".der", ".p12", ".pfx", ".p7b", ".p7c", ".jks"}

// passedOver is a file or folder that looks as if it were meant to be served, and is not read.
type passedOver struct{ path, reason string }

// passOver says which of the entries of a directory that are not read somebody
// may miss. present are all of its paths.
func passOver(dir string, entries []fs.DirEntry, present map[string]bool) (all []passedOver) {
	folders := 0
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		if strings.HasPrefix(name, ".") || name == accountKey || name == authorityFile {
			continue
		}
		if isFolder(path, entry) {
			if folders++; folders <= maxFolders && holdsCertificates(path) {
				all = append(all, passedOver{path, "directories below are not read"})
			}
			continue
		}
		if reason := missing(path, present); reason != "" {
			all = append(all, passedOver{path, reason})
		}
	}
	return all
}

// missing says what a file lacks to be read; empty if it looks like none of ours.
func missing(path string, present map[string]bool) string {
	base := func(path string) string { return filepath.Base(path) }
	extension := filepath.Ext(path)
	stem := strings.TrimSuffix(path, extension)
	switch {
	case extension == ".crt" && len(companions(path)) == 0:
		return accountKey + " is never read: give both another name"
	case extension == ".crt":
		return "its key is not beside it: " + base(companions(path)[0])
	case extension == ".key" && (present[stem] || present[stem+".crt"]):
		return "" // a part of what is read
	case extension == ".key" && present[stem+".pem"]:
		return fmt.Sprintf("the key of %s is looked for in it, or in %s", base(stem+".pem"), base(stem+".pem.key"))
	case extension == ".key":
		return "its certificate is not beside it: " + base(stem+".crt")
	case extension == ".crl" && present[stem+authoritySuffix]:
		return "revocation lists are read from " + base(stem+listSuffix)
	case slices.Contains(otherForms, strings.ToLower(extension)):
		return "only names are read that end in .pem, or in .crt and .key"
	}
	return ""
}

func isFolder(path string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	if slices.Contains(otherForms, filepath.Ext(path)) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// holdsCertificates looks at some of the names in a folder.
func holdsCertificates(path string) bool {
	folder, err := os.Open(path)
	if err != nil {
		return false // such as lost+found
	}
	defer func() { _ = folder.Close() }()
	names, _ := folder.Readdirnames(maxInFolder)
	return slices.ContainsFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, ".") && slices.Contains(otherForms, strings.ToLower(filepath.Ext(name)))
	})
}

// besideReason is why a certificate beside the folders of marathon-acme's storage is not read.
const besideReason = "beside the folder " + certsFolder + " only " + defaultFile + " is read: put it into " + unmanagedFolder

// besideFolders are the files beside the folders of marathon-acme's storage: authorities may be there,
// certificates are passed over.
func (l *layout) besideFolders(path string) (beside listing) {
	found, err := l.listDirectory(path)
	if err != nil {
		return listing{} // nothing of it is read
	}
	for _, c := range found.candidates {
		switch {
		case strings.HasSuffix(c.path, authoritySuffix) || strings.HasSuffix(c.path, listSuffix):
			c.beside = true
			beside.candidates = append(beside.candidates, c)
		case filepath.Base(c.path) != defaultFile:
			beside.passedOver = append(beside.passedOver, passedOver{c.path, besideReason})
		}
	}
	for _, p := range found.passedOver {
		if name := filepath.Base(p.path); name != certsFolder && name != unmanagedFolder {
			beside.passedOver = append(beside.passedOver, p)
		}
	}
	return beside
}

// withoutRead leaves out what another path reads, orders the rest, and has each once.
func withoutRead(all []passedOver, candidates []candidate) []passedOver {
	if len(all) == 0 {
		return nil
	}
	read := make(map[string]bool)
	for _, c := range candidates {
		for _, part := range c.parts {
			read[part] = true
			read[filepath.Dir(part)] = true
		}
	}
	all = slices.DeleteFunc(all, func(p passedOver) bool { return read[p.path] })
	slices.SortFunc(all, func(a, b passedOver) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(all, func(a, b passedOver) bool { return a.path == b.path })
}

// passedOverProblems are one for each directory. The paths are in order.
func passedOverProblems(all []passedOver) (problems []problem.Problem) {
	inside := make(map[string][]passedOver)
	var dirs []string
	for _, p := range all {
		dir := filepath.Dir(p.path)
		if inside[dir] == nil {
			dirs = append(dirs, dir)
		}
		inside[dir] = append(inside[dir], p)
	}
	for _, dir := range dirs {
		var told []string
		for _, p := range inside[dir][:min(len(inside[dir]), maxPassedOver)] {
			told = append(told, fmt.Sprintf("%.100q (%s)", filepath.Base(p.path), p.reason))
		}
		reason := "not read: " + strings.Join(told, ", ")
		if more := len(inside[dir]) - len(told); more > 0 {
			reason += fmt.Sprintf(" and %d more", more)
		}
		problems = append(problems, problem.Problem{Subject: dir, Reason: reason})
	}
	return problems
}
