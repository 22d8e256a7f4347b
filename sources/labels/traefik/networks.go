package traefik

import (
	"fmt"
	"net/netip"
	"slices"

	"relay/sources/labels"
)

// everywhere are all addresses.
var everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

func (b *building) addNetworks(c condition) error {
	networks, err := parseNetworks(c.values)
	if err != nil {
		return err
	}
	if !b.limited {
		b.limited, b.nets = true, everywhere
	}
	if c.not {
		for _, network := range networks {
			b.nets = without(b.nets, network)
		}
	} else {
		b.nets = inBoth(b.nets, networks)
	}
	if len(b.nets) > labels.MaxNetworks {
		return fmt.Errorf("comes to more than %d networks", labels.MaxNetworks)
	}
	return nil
}

func parseNetworks(values []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, value := range values {
		network, ok := labels.ParseNetwork(value)
		if !ok {
			return nil, fmt.Errorf("has %.40q, which is no address and no network", value)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// inBoth returns the networks that are in both lists.
func inBoth(a, b []netip.Prefix) (both []netip.Prefix) {
	for _, x := range a {
		for _, y := range b {
			switch {
			case !x.Overlaps(y):
			case x.Bits() >= y.Bits():
				both = append(both, x)
			default:
				both = append(both, y)
			}
		}
	}
	slices.SortFunc(both, netip.Prefix.Compare)
	return slices.Compact(both)
}

// without returns networks that are all addresses of those given but one network's.
func without(networks []netip.Prefix, taken netip.Prefix) (rest []netip.Prefix) {
	for _, network := range networks {
		switch {
		case !network.Overlaps(taken):
			rest = append(rest, network)
		case network.Bits() < taken.Bits():
			// Of each half in turn, the one that the network is not in.
			for network.Bits() < taken.Bits() {
				low, high := halves(network)
				if low.Overlaps(taken) {
					network, low = low, high
				} else {
					network = high
				}
				rest = append(rest, low)
			}
		}
	}
	slices.SortFunc(rest, netip.Prefix.Compare)
	return rest
}

func halves(network netip.Prefix) (low, high netip.Prefix) {
	bits := network.Bits() + 1
	address := network.Masked().Addr()
	bytes := address.AsSlice()
	bytes[(bits-1)/8] |= 1 << (7 - (bits-1)%8)
	upper, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(address, bits), netip.PrefixFrom(upper, bits)
}
