package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// configFlag names the configuration file. It does what kong.ConfigFlag does, and says in its
// errors that it was the one.
type configFlag string

// BeforeResolve reads the file.
func (configFlag) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path, _ := ctx.FlagValue(trace.Flag).(configFlag)
	resolver, err := k.LoadConfig(string(path))
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	ctx.AddResolver(resolver)
	return nil
}

// settingNames returns the keys that a configuration file may have, besides fleets.
func settingNames(app *kong.Application) (names []string) {
	for _, flag := range allFlags(app) {
		if flag.Name != "config" && flag.Name != "help" {
			names = append(names, flag.Name)
		}
	}
	return names
}

// checkKey says what was likely meant by a key that no setting has.
func checkKey(key string, settings []string) error {
	switch {
	case key == fleetsKey || slices.Contains(settings, key):
		return nil
	case key == "apps":
		return fmt.Errorf("there is no setting %q: a file of apps is given by --source-file, or as source-file: here", key)
	}
	return fmt.Errorf("there is no setting %q%s: see relay serve --help for all of them", key, didYouMean(key, append(slices.Clone(settings), fleetsKey)))
}

// didYouMean suggests one of the names for a key, after a comma; nothing if none is near. A key
// may be written as a flag or variable.
func didYouMean(key string, names []string) string {
	plain := strings.ToLower(strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-"))
	plain = strings.TrimPrefix(plain, "relay-")
	best, distance := "", max(1, len(plain)/4)+1
	for _, name := range names {
		if d := editDistance(plain, name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best
}

// tabHint says which line of a YAML file begins with a tab, which YAML does not allow.
func tabHint(data []byte) string {
	for i, line := range bytes.Split(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if bytes.ContainsRune(indent, '\t') {
			return fmt.Sprintf(" (line %d begins with a tab: indent with spaces)", i+1)
		}
	}
	return ""
}
