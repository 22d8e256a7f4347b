package clidocs

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// SettingsFile is a configuration file that has every setting, all of them off.
type SettingsFile struct {
	// Head is the text above the settings.
	Head string
	// Flags are the settings.
	Flags []*kong.Flag
	// Examples are values of settings that have no default, by their names. A setting of
	// neither is shown with its placeholder.
	Examples map[string]string
	// Lists are settings that no flag has.
	Lists []SettingsList
}

// SettingsList is a setting whose value is a list of mappings.
type SettingsList struct {
	Title, Help, Name string
	// Keys and Values are those of its one example.
	Keys, Values []string
}

// commentWidth is how long the lines of comments are at most.
const commentWidth = 100

// exampleMark is said of values that are not the default.
const exampleMark = "  # an example"

// YAML returns the text of the file. Without its "#", each line of a setting is valid.
func (s SettingsFile) YAML() ([]byte, error) {
	var out strings.Builder
	comment(&out, s.Head)
	for _, g := range grouped(s.Flags) {
		fmt.Fprintf(&out, "\n## %s\n", g.title)
		for _, f := range g.flags {
			value, example := s.value(f)
			text, err := yamlValue(value, f.IsSlice())
			if err != nil {
				return nil, fmt.Errorf("setting %s: %w", f.Name, err)
			}
			out.WriteString("\n")
			comment(&out, asSettings(f.Help)+allowed(f))
			fmt.Fprintf(&out, "#%s: %s", f.Name, text)
			switch {
			case example && f.HasDefault:
				out.WriteString(exampleMark + "; the default is " + f.Default)
			case example:
				out.WriteString(exampleMark)
			}
			out.WriteString("\n")
		}
	}
	for _, l := range s.Lists {
		fmt.Fprintf(&out, "\n## %s\n\n", l.Title)
		comment(&out, l.Help)
		fmt.Fprintf(&out, "#%s:\n", l.Name)
		for i, key := range l.Keys {
			bullet := "#  "
			if i == 0 {
				bullet = "#- "
			}
			out.WriteString(bullet + key + ": " + l.Values[i] + "\n")
		}
	}
	return []byte(out.String()), nil
}

// Value is what the file shows for a setting, as YAML, such as for an example of a list.
func (s SettingsFile) Value(f *kong.Flag) (string, error) {
	value, _ := s.value(f)
	return yamlValue(value, f.IsSlice())
}

// value is the default of a setting, or an example.
func (s SettingsFile) value(f *kong.Flag) (text string, example bool) {
	if text, ok := s.Examples[f.Name]; ok {
		return text, true
	}
	switch {
	case f.HasDefault:
		return f.Default, false
	case f.IsBool():
		return "false", false
	}
	return placeholder(f), true
}

// allowed are the words that a setting takes, where its help does not say them.
func allowed(f *kong.Flag) string {
	for _, word := range values(f) {
		if !strings.Contains(f.Help, word) {
			return " One of: " + strings.Join(values(f), ", ") + "."
		}
	}
	return ""
}

// yamlValue writes what is after the colon.
func yamlValue(value string, list bool) (string, error) {
	node := yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if list {
		node = yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for item := range strings.SplitSeq(value, ",") {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: item})
		}
	}
	text, err := yaml.Marshal(&node)
	return strings.TrimSpace(string(text)), err
}

var flagName = regexp.MustCompile(`--([a-z][a-z0-9-]+)`)

// asSettings names flags in a text as the file does.
func asSettings(help string) string { return flagName.ReplaceAllString(help, "$1") }

// comment writes a text in lines that begin with "# ".
func comment(out *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := "#"
		for word := range strings.FieldsSeq(paragraph) {
			if len(line)+1+len(word) > commentWidth {
				out.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		out.WriteString(line + "\n")
	}
}
