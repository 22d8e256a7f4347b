package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/certs/certstest"
)

// A secret that others on the machine can read is told in the log, on the page
// and by relay check; on the page for as long as it is so.
func TestSecretsOpenToOthers(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.config.AdminCert, w.config.AdminKey = pair(t, dir, w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}))
	w.config.AdminTokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(w.config.AdminTokenFile, []byte(hushToken), 0o600); err != nil {
		t.Fatal(err)
	}
	mode := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(w.config.AdminTokenFile, mode); err != nil {
			t.Fatal(err)
		}
	}
	apps := filepath.Join(dir, "apps.yaml")
	if err := os.WriteFile(apps, []byte("apps: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := []string{"check", "--source-file", apps, "--admin-cert", w.config.AdminCert, "--admin-key", w.config.AdminKey, "--admin-token-file", w.config.AdminTokenFile}
	const want = "can be read by everyone on the machine (mode 0644): chmod 0640"
	if status, out, errs := command(t, check...); status != 0 || strings.Contains(out, want) {
		t.Errorf("relay check: status %d: %s%s", status, out, errs)
	}
	mode(0o644)
	if status, out, _ := command(t, check...); status == 0 || !strings.Contains(out, "wrong  admin-token-file: "+w.config.AdminTokenFile+" "+want) {
		t.Errorf("relay check: status %d: %s", status, out)
	}
	w.startRelay()
	w.problem("admin-token-file", want)
	w.eventually("it serves", func() error {
		if !strings.Contains(w.log.String(), "msg=serving") {
			return errors.New("it does not yet")
		}
		return nil
	})
	if text := w.log.String(); strings.Count(text, want) != 1 || strings.Contains(text, hushToken) {
		t.Errorf("the log should tell it once:\n%s", text)
	}
	mode(0o640)
	if problems := w.relay.config.exposedSecrets(); len(problems) > 0 {
		t.Errorf("problems that are none any more: %+v", problems)
	}
}

// Each setting that names a file with a secret is looked after.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	var c Config
	set := make(map[string]bool)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		for i := range v.NumField() {
			field, tag := v.Type().Field(i), v.Type().Field(i).Tag
			switch {
			case field.Anonymous:
				fill(v.Field(i))
			case field.Type.Kind() == reflect.String && tag.Get("placeholder") == "FILE" && secretWords(field.Name):
				v.Field(i).SetString(field.Name)
				set[field.Name] = true
			}
		}
	}
	fill(reflect.ValueOf(&c).Elem())
	// Kubernetes writes it for its pod alone, with a mode of its own.
	delete(set, "VaultK8sTokenFile")
	for _, f := range c.secretFiles() {
		if !set[f.path] {
			t.Errorf("%s is looked after, and named as no secret", f.path)
		}
		delete(set, f.path)
	}
	if len(set) > 0 {
		t.Errorf("not looked after: %v", set)
	}
}

func secretWords(name string) bool {
	return slices.ContainsFunc([]string{"Key", "Token", "Secret", "Password", "Account"}, func(word string) bool { return strings.Contains(name, word) })
}
