package deploy

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Limits are what an Envoy may take of its machine. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager
type Limits struct {
	// MaxConnections is how many connections of clients Envoy has at the same time, over all
	// listeners; 0 is no limit. Further ones are closed at once.
	MaxConnections uint64
	// MaxHeap is how many bytes of memory Envoy may use, 0 is no limit. Near it Envoy closes
	// idle connections sooner, then answers 503, then takes no more connections.
	MaxHeap uint64
}

const (
	// ownDescriptors are for all but connections of clients and to tasks: event loops, Relay, the log.
	ownDescriptors = 128
	// listenersShare is which part of the descriptors is for sockets that listen. Each TCP service has one
	// for each worker, and nobody knows here how many there will be.
	listenersShare = 16
	// mostConnections bounds what Limits are found where descriptors are not limited.
	mostConnections = 1 << 19
	// heapShare is the part, in percent, of the memory that Envoy's heap may have.
	heapShare = 80
)

// LimitsOfMachine are the limits for an Envoy that is started on this machine as this process
// was. A connection of a client takes a descriptor, and so does that to the task. Envoy uses as
// many descriptors as the hard limit allows.
func LimitsOfMachine() (Limits, error) {
	var descriptors syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
		return Limits{}, fmt.Errorf("how many descriptors this machine allows: %w", err)
	}
	memory, err := availableMemory("/")
	if err != nil {
		return Limits{}, err
	}
	return Limits{MaxConnections: connectionsFor(descriptors.Max), MaxHeap: memory / 100 * heapShare}, nil
}

// connectionsFor is how many clients so many descriptors are enough for.
func connectionsFor(descriptors uint64) uint64 {
	own := ownDescriptors + descriptors/listenersShare
	if descriptors/2 < own {
		return max(1, descriptors/4)
	}
	return min((descriptors-own)/2, mostConnections)
}

// availableMemory is how many bytes processes of this cgroup may use, or the machine has.
// Files are looked for below root.
func availableMemory(root string) (uint64, error) {
	memory, err := machineMemory(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, err
	}
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return memory, nil // no cgroups
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path, see cgroups(7)
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case fields[0] == "0":
			memory = min(memory, cgroupMemory(filepath.Join(root, "sys/fs/cgroup"), fields[2], "memory.max"))
		case strings.Contains(","+fields[1]+",", ",memory,"):
			memory = min(memory, cgroupMemory(filepath.Join(root, "sys/fs/cgroup/memory"), fields[2], "memory.limit_in_bytes"))
		}
	}
	return memory, nil
}

func machineMemory(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("how much memory this machine has: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "MemTotal:")
	value, _, _ := strings.Cut(rest, "kB")
	kB, err := strconv.ParseUint(strings.TrimSpace(value), 10, 54)
	if err != nil {
		return 0, fmt.Errorf("how much memory this machine has: %s has no MemTotal", path)
	}
	return kB << 10, nil
}

// cgroupMemory is the least limit of a cgroup and those above it. In a container the path may
// be one of the machine, of which only the end, or nothing, is there.
func cgroupMemory(mount, group, file string) uint64 {
	limit := uint64(math.MaxUint64)
	for dir := filepath.Join("/", group); ; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(mount, dir, file)); err == nil {
			if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil { // not "max"
				limit = min(limit, n)
			}
		}
		if dir == "/" {
			return limit
		}
	}
}
