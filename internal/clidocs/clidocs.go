// Package clidocs describes a command line for people and shells: manual pages,
// completion for bash, zsh and fish, and a file with all settings. All of it is made of
// what kong knows of the command line, so it says what the program does.
package clidocs

import (
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
)

// command is one that people type: the program and a word, such as relay serve.
type command struct {
	name, help string
	arguments  []*kong.Positional
	flags      []*kong.Flag
}

// commands returns those that are shown.
func commands(app *kong.Application) (all []command) {
	for _, node := range app.Leaves(true) {
		all = append(all, command{name: node.Name, help: node.Help, arguments: node.Positional, flags: shown(node.Flags)})
	}
	return all
}

// shown returns the flags that --help lists.
func shown(flags []*kong.Flag) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f *kong.Flag) bool { return f.Hidden })
}

// group is flags that are listed under one title.
type group struct {
	title string
	flags []*kong.Flag
}

// grouped returns flags by their groups, in the order in which those come first. Flags of
// no group have no title.
func grouped(flags []*kong.Flag) (groups []group) {
	for _, f := range flags {
		title := ""
		if f.Group != nil {
			title = f.Group.Title
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.title == title })
		if i < 0 {
			i, groups = len(groups), append(groups, group{title: title})
		}
		groups[i].flags = append(groups[i].flags, f)
	}
	return groups
}

// takesValue is false for those that are on when they are named.
func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// values returns the words that a flag takes, if it takes only some.
func values(f *kong.Flag) []string {
	if f.Enum == "" {
		return nil
	}
	return f.EnumSlice()
}

// takesPath is true for flags whose value is a file or a folder.
func takesPath(f *kong.Flag) bool {
	return slices.Contains([]string{"FILE", "PATH", "DIR"}, f.PlaceHolder) && !strings.HasSuffix(f.Name, "-mount")
}

// placeholder says what is written after the name of a flag.
func placeholder(f *kong.Flag) string {
	switch {
	case f.PlaceHolder != "":
		return f.PlaceHolder
	case f.Enum != "":
		return strings.Join(f.EnumSlice(), "|")
	}
	t := f.Target.Type()
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "DURATION"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64:
		return "N"
	}
	return strings.ToUpper(f.Name)
}

// firstSentence is the part of a help text that fits beside a name.
func firstSentence(help string) string {
	for i, r := range help {
		if r != '.' && r != ';' {
			continue
		}
		if rest := help[i+1:]; rest == "" || unicode.IsSpace(rune(rest[0])) {
			return help[:i]
		}
	}
	return help
}
