package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"relay/internal/relay"
)

// usualPorts are those written into the errors of settings of the type netip.AddrPort.
var usualPorts = map[string]string{"http": "80", "https": "443", "health": "9091", "envoy-admin": "9901"}

// addressMapper reads flags of the type netip.AddrPort.
func addressMapper() kong.Option {
	return kong.TypeMapper(reflect.TypeFor[netip.AddrPort](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("address", &text); err != nil {
			return err
		}
		address, err := parseAddress(ctx.Value.Name, text)
		if err == nil {
			target.Set(reflect.ValueOf(address))
		}
		return err
	}))
}

// networkMapper reads flags of the type netip.Prefix. Its error says what to write.
func networkMapper() kong.Option {
	return kong.TypeMapper(reflect.TypeFor[netip.Prefix](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("network", &text); err != nil {
			return err
		}
		network, err := netip.ParsePrefix(text)
		if err == nil {
			target.Set(reflect.ValueOf(network))
			return nil
		}
		if address, single := netip.ParseAddr(text); single == nil && address.Zone() == "" {
			return fmt.Errorf("%q has no prefix length: write %s/%d for this address alone", text, address, address.BitLen())
		}
		return fmt.Errorf("%q is no network: write an IP address and a prefix length, such as 10.0.0.0/8", text)
	}))
}

// durationMapper reads flags of the type time.Duration. Its error says what to write.
func durationMapper() kong.Option {
	return kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
			return err
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			if _, bare := strconv.ParseFloat(text, 64); bare == nil {
				return fmt.Errorf("%q has no unit: write %ss for seconds, or %sm for minutes", text, text, text)
			}
			return fmt.Errorf("%q is no time: write one such as 500ms, 5s, 5m or 1h", text)
		}
		target.SetInt(int64(d))
		return nil
	}))
}

// parseAddress takes an empty text for none.
func parseAddress(setting, text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	return relay.ParseBindAddress(text, usualPorts[setting])
}

// checkFleetAddresses says which address of a fleet in the file is none, and what to write.
func checkFleetAddresses(name string, fleet *yaml.Node) error {
	for i := 0; i+1 < len(fleet.Content); i += 2 {
		key, value := fleet.Content[i].Value, fleet.Content[i+1]
		if key != "http" && key != "https" && key != "health" || value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			continue
		}
		if _, err := parseAddress(key, value.Value); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, value.Line, key, err)
		}
	}
	return nil
}
