package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"relay/admin/client"
	"relay/internal/files"
)

// ClientFlags say which running Relay a command asks: by flag, by variable, in the file of
// --config, or in the user's own file, in this order.
type ClientFlags struct {
	Admin     string        `group:"Relay to ask" placeholder:"URL" help:"The admin endpoint of a running Relay (default http://127.0.0.1:9090). This and the next five may be in ~/.config/relay/client.yaml."`
	TokenFile string        `group:"Relay to ask" name:"admin-token-file" placeholder:"FILE" help:"File with the token that the endpoint asks for."`
	CA        string        `group:"Relay to ask" name:"admin-ca" placeholder:"FILE" help:"PEM file with the authorities trusted for the endpoint's certificate. Default: those of the system."`
	Cert      string        `group:"Relay to ask" name:"admin-client-cert" placeholder:"FILE" help:"PEM certificate (chain) to show to the endpoint."`
	Key       string        `group:"Relay to ask" name:"admin-client-key" placeholder:"FILE" help:"Its private key."`
	Timeout   time.Duration `group:"Relay to ask" name:"admin-timeout" help:"How long to wait for an answer (default 30s)."`
}

// maxClientFile bounds the user's file, in bytes.
const maxClientFile = 1 << 20

// clientFile is the user's file. Its keys are the names of the flags.
type clientFile struct {
	Admin     string        `yaml:"admin"`
	TokenFile string        `yaml:"admin-token-file"`
	CA        string        `yaml:"admin-ca"`
	Cert      string        `yaml:"admin-client-cert"`
	Key       string        `yaml:"admin-client-key"`
	Timeout   time.Duration `yaml:"admin-timeout"`
}

var clientFileKeys = yamlKeys(reflect.TypeFor[clientFile]())

// client returns what asks the Relay of the flags and of the user's file. Warnings go to w.
func (f ClientFlags) client(w io.Writer) (*client.Client, error) {
	file, err := readClientFile(clientFilePath(os.Getenv), w)
	if err != nil {
		return nil, exitStatus{err, statusUsage}
	}
	settings := f.settings(file)
	warnExposed(settings.TokenFile, w)
	return client.New(settings)
}

// settings takes from the file what no flag says. Credentials of the file are for the Relay
// of the file: they are not shown to another one.
func (f ClientFlags) settings(file clientFile) client.Settings {
	s := client.Settings{Address: f.Admin, TokenFile: f.TokenFile, CA: f.CA, Cert: f.Cert, Key: f.Key, Timeout: f.Timeout}
	if s.Timeout == 0 {
		s.Timeout = file.Timeout
	}
	if s.Address == "" {
		s.Address = file.Admin
	}
	if s.Address != file.Admin {
		return s
	}
	if s.TokenFile == "" {
		s.TokenFile = file.TokenFile
	}
	if s.CA == "" {
		s.CA = file.CA
	}
	if s.Cert == "" && s.Key == "" {
		s.Cert, s.Key = file.Cert, file.Key
	}
	return s
}

// clientFilePath is where the user's file is, after the XDG Base Directory Specification;
// nothing if the user has no home.
func clientFilePath(getenv func(string) string) string {
	dir := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the specification has others ignored
		home := getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "relay", "client.yaml")
}

// readClientFile reads the user's file; one that is not there says nothing.
func readClientFile(path string, w io.Writer) (file clientFile, err error) {
	if path == "" {
		return file, nil
	}
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return file, nil
	}
	data, mode, err := files.ReadWhole(path, maxClientFile)
	if err != nil {
		return file, err
	}
	if err := decodeClientFile(path, data, &file); err != nil {
		return file, err
	}
	if text := files.Exposed(path, mode); text != "" {
		fmt.Fprintln(w, "relay: warning:", text)
	}
	// A relative path is beside the file, wherever the command runs.
	for _, name := range []*string{&file.TokenFile, &file.CA, &file.Cert, &file.Key} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	return file, nil
}

func decodeClientFile(path string, data []byte, file *clientFile) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w%s", path, err, tabHint(data))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: want settings such as \"admin: https://relay.example.com:9090\"", path, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if key := root.Content[i]; !slices.Contains(clientFileKeys, key.Value) {
			return fmt.Errorf("%s:%d: there is no setting %q%s: this file may have %s", path, key.Line, key.Value, didYouMean(key.Value, clientFileKeys), strings.Join(clientFileKeys, ", "))
		}
	}
	if err := root.Decode(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// warnExposed says that others can read the token.
func warnExposed(path string, w io.Writer) {
	if path == "" {
		return
	}
	if info, err := os.Stat(path); err == nil {
		if text := files.Exposed(path, info.Mode()); text != "" {
			fmt.Fprintln(w, "relay: warning:", text)
		}
	}
}
