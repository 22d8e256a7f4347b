package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"

	"relay/internal/terminal"
)

// toYAML writes JSON as YAML, with its fields in the same order and its numbers as they are.
// Nothing in it does something to a terminal.
func toYAML(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	node, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(node); err != nil {
		return nil, err
	}
	err = e.Close()
	return terminal.CleanYAML(b.Bytes()), err
}

// yamlNode reads the next value.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		return yamlNodes(d, v)
	case json.Number:
		tag := "!!int"
		if bytes.ContainsAny([]byte(v), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}, nil
	default:
		node := new(yaml.Node)
		text := fmt.Sprint(v)
		node.SetString(text)
		if !terminal.Harmless(text) {
			node.Style = yaml.DoubleQuotedStyle
		}
		return node, nil
	}
}

// yamlNodes reads a list or an object to its end.
func yamlNodes(d *json.Decoder, begin json.Delim) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode}
	if begin == '{' {
		node.Kind = yaml.MappingNode
	}
	for d.More() {
		item, err := yamlNode(d)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, item)
	}
	_, err := d.Token()
	return node, err
}
