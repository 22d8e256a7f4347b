package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

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
		return Settings{}, errors.New(withoutValues(err.Error()))
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

// values are those that errors of YAML and of blackbox_exporter quote.
var values = regexp.MustCompile("`[^`]*`|(regexp|expression)=\"(?s:.*)\"")

func withoutValues(text string) string {
	text = values.ReplaceAllString(text, secret.Redacted)
	return secret.Mask(text[:min(len(text), 2000)])
}
