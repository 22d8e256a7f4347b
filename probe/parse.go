package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"relay/internal/files"
	"relay/internal/secret"
)

// maxSettings bounds a file of settings, in bytes.
const maxSettings = 4 << 20

// Load reads a file of settings.
func Load(path string) (Settings, error) {
	text, err := files.Read(path, maxSettings)
	if err != nil {
		return Settings{}, err
	}
	s, err := Parse(text)
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Parse reads settings in YAML. What is not known is an error. Errors name lines and keys, and quote no value of a
// module: there may be passwords among them.
func Parse(text []byte) (Settings, error) {
	s := DefaultSettings()
	if len(text) > maxSettings {
		return Settings{}, fmt.Errorf("there are more than %d bytes", maxSettings)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, forPeople(err)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Settings{}, errors.New("there is a second document, which is not read: take out the line of three hyphens")
	}
	if err := s.check(); err != nil {
		return Settings{}, err
	}
	for name, m := range s.Modules {
		s.Modules[name] = boundModule(m)
	}
	return s, nil
}

// What errors of YAML say of types of Go.
var (
	unknownKey = regexp.MustCompile(`field (.*) not found in type \S+`)
	noTime     = regexp.MustCompile("cannot unmarshal !!\\w+ `[^`]*` into time.Duration")
	wrongType  = regexp.MustCompile("cannot unmarshal !!(\\w+)( `[^`]*`)? into \\S+")
)

// forPeople says what an error of YAML means without names of Go's types, and without values.
func forPeople(err error) error {
	text := err.Error()
	if mistakes, ok := errors.AsType[*yaml.TypeError](err); ok {
		text = strings.Join(mistakes.Errors, "; ")
	}
	text = unknownKey.ReplaceAllString(text, `there is no setting "$1" here`)
	text = noTime.ReplaceAllString(text, "this is no time: write it with its unit, such as 30s")
	return errors.New(withoutValues(wrongType.ReplaceAllString(text, "a value of type $1 does not belong here")))
}

// values are those that errors of YAML and of blackbox_exporter quote.
var values = regexp.MustCompile("`[^`]*`|(regexp|expression)=\"(?s:.*)\"")

func withoutValues(text string) string {
	text = values.ReplaceAllString(text, secret.Redacted)
	return secret.Mask(text[:min(len(text), 2000)])
}
