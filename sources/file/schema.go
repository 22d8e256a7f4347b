package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"relay/sources"
)

// document is what one YAML document holds.
type document struct {
	Apps []appSpec `yaml:"apps"`
}

type appSpec struct {
	ID         text           `yaml:"id"`
	Ports      []portSpec     `yaml:"ports"`
	Deployment deploymentSpec `yaml:"deployment"`
	// Maintenance answers all requests with a page that says so.
	Maintenance bool `yaml:"maintenance"`
	// Owner is who is told when the app fails.
	Owner text `yaml:"owner"`
	line  int
}

type deploymentSpec struct {
	Group           text      `yaml:"group"`
	StartedAt       time.Time `yaml:"startedAt"`
	TargetInstances int       `yaml:"targetInstances"`
}

type portSpec struct {
	Name            string         `yaml:"name"`
	Groups          []text         `yaml:"groups"`
	Domains         []text         `yaml:"domains"`
	ACMEDomains     []text         `yaml:"acmeDomains"`
	RedirectToHTTPS bool           `yaml:"redirectToHTTPS"`
	Endpoints       []endpointSpec `yaml:"endpoints"`
	// Settings are all other fields: see settingFields.
	Settings map[string]settingSpec `yaml:",inline"`
}

type endpointSpec struct {
	Address text   `yaml:"address"`
	Health  text   `yaml:"health"`
	Region  string `yaml:"region"`
	Zone    string `yaml:"zone"`
}

// text is a scalar that remembers its line.
type text struct {
	Value string
	Line  int
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	t.Line = n.Line
	if err := n.Decode(&t.Value); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a single value here", n.Line)}}
	}
	return nil
}

// Error is a mistake that costs the whole file.
type Error struct {
	File string
	// Line counts from 1; it is 0 when the mistake has no line.
	Line   int
	Reason string
}

// Error returns "file:line: reason".
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// maxErrors is how many of the mistakes of a file are told.
const maxErrors = 50

// join is errors.Join for mistakes that may be many.
func join(name string, errs []error) error {
	if more := len(errs) - maxErrors; more > 0 {
		errs = append(errs[:maxErrors:maxErrors], &Error{File: name, Reason: fmt.Sprintf("has %d more mistakes", more)})
	}
	return errors.Join(errs...)
}

// decode reads all YAML documents of a file. The error joins one *Error for
// each mistake.
func decode(name string, data []byte) ([]appSpec, error) {
	lines, err := itemLines(name, data)
	if err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var apps []appSpec
	var seen bool
	for {
		var doc document
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, join(name, append(explain(name, err), unknownSettings(name, doc.Apps)...))
		}
		seen = seen || doc.Apps != nil
		apps = append(apps, doc.Apps...)
	}
	// A list that is missing altogether is most likely a file caught while it
	// is being written: only "apps: []" means none.
	if !seen {
		return nil, &Error{File: name, Reason: "has no apps: write \"apps: []\" if there are none"}
	}
	for i := range min(len(apps), len(lines)) {
		apps[i].line = lines[i]
	}
	return apps, join(name, unknownSettings(name, apps))
}

// itemLines returns the line of each item of the "apps" lists. It refuses
// empty list items, which the YAML library would drop in silence.
func itemLines(name string, data []byte) ([]int, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var lines []int
	var errs []error
	for {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			return lines, join(name, errs)
		}
		if err != nil {
			return nil, join(name, explain(name, err))
		}
		errs = append(errs, emptyItems(name, &root)...)
		for _, top := range root.Content {
			for i := 1; i < len(top.Content); i += 2 {
				if top.Content[i-1].Value != "apps" {
					continue
				}
				for _, item := range top.Content[i].Content {
					lines = append(lines, item.Line)
				}
			}
		}
	}
}

func emptyItems(name string, n *yaml.Node) (errs []error) {
	for _, c := range n.Content {
		if n.Kind == yaml.SequenceNode && c.Kind == yaml.ScalarNode && c.ShortTag() == "!!null" {
			errs = append(errs, &Error{File: name, Line: c.Line, Reason: "empty list item"})
		}
		errs = append(errs, emptyItems(name, c)...)
	}
	return errs
}

// explain turns what the YAML library says into errors with file and line,
// without the names of our Go types.
func explain(name string, err error) []error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return []error{lineError(name, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	all := make([]error, 0, len(te.Errors))
	for _, s := range te.Errors {
		all = append(all, lineError(name, s))
	}
	return all
}

var (
	linePrefix   = regexp.MustCompile(`^line (\d+): `)
	unknownField = regexp.MustCompile(`^field (.+) not found in type \S+$`)
	wrongType    = regexp.MustCompile(`^cannot unmarshal !!(\w+)(.*) into \S+$`)
)

func lineError(name, message string) error {
	e := &Error{File: name, Reason: message}
	if m := linePrefix.FindStringSubmatch(message); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Reason = message[len(m[0]):]
	}
	if m := unknownField.FindStringSubmatch(e.Reason); m != nil {
		e.Reason = fmt.Sprintf("unknown field %q", m[1])
	}
	if m := wrongType.FindStringSubmatch(e.Reason); m != nil {
		e.Reason = fmt.Sprintf("a value of type %s%s does not belong here", m[1], m[2])
	}
	if strings.HasPrefix(e.Reason, "did not find expected") {
		e.Reason += " (values that begin with * or [ need quotes)"
	}
	e.Reason = sources.ClipReason(e.Reason)
	return e
}
