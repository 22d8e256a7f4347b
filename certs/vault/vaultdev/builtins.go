package main

import "github.com/hashicorp/vault/sdk/helper/consts"

// builtins tells Vault's plugin catalogue of the one secrets engine and the
// authentication methods that are compiled in.
type builtins struct{}

func (builtins) Contains(name string, kind consts.PluginType) bool {
	switch kind {
	case consts.PluginTypeSecrets:
		return name == "kv"
	case consts.PluginTypeCredential:
		return name == "approle" || name == "kubernetes"
	}
	return false
}

func (b builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	return nil, b.Contains(name, kind)
}

func (builtins) Keys(consts.PluginType) []string { return nil }

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
