package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each setting that names a file with a secret is looked after.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	var f Flags
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
	fill(reflect.ValueOf(&f).Elem())
	// Kubernetes writes it for its pod alone, with a mode of its own.
	delete(set, "VaultK8sTokenFile")
	config := f.config()
	for _, file := range config.SecretFiles() {
		if !set[file.Path] {
			t.Errorf("%s is looked after, and named as no secret", file.Path)
		}
		delete(set, file.Path)
	}
	if len(set) > 0 {
		t.Errorf("not looked after: %v", set)
	}
}

func secretWords(name string) bool {
	return slices.ContainsFunc([]string{"Key", "Token", "Secret", "Password", "Account"}, func(word string) bool { return strings.Contains(name, word) })
}
