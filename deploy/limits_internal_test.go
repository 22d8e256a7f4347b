package deploy

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestConnectionsFor(t *testing.T) {
	t.Parallel()
	for descriptors, want := range map[uint64]uint64{
		0: 1, 64: 16, 255: 63, 512: 176, 1024: 416, 65536: 30656, 1 << 20: 491456, 1 << 30: mostConnections, math.MaxUint64: mostConnections,
	} {
		if got := connectionsFor(descriptors); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
}

func TestAvailableMemory(t *testing.T) {
	t.Parallel()
	const meminfo = "MemTotal:       24576000 kB\nMemFree:         1000 kB\n"
	tests := []struct {
		name  string
		files map[string]string
		want  uint64
	}{
		{"no cgroups", map[string]string{"proc/meminfo": meminfo}, 24576000 << 10},
		{"no limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
		}, 24576000 << 10},
		{"of the cgroup", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000000\n", "sys/fs/cgroup/a/memory.max": "2000000\n",
		}, 1000000},
		{"of one above", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "2000000\n",
		}, 2000000},
		{"of a container that sees its own cgroup only", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": "3000000\n",
		}, 3000000},
		{"of version 1", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,memory:/a\n1:name=systemd:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4000000\n",
		}, 4000000},
	}
	for _, tt := range tests {
		root := t.TempDir()
		for name, text := range tt.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := availableMemory(root); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
	if _, err := availableMemory(t.TempDir()); err == nil {
		t.Error("a machine that does not say how much memory it has: no error")
	}
}
