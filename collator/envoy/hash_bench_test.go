package envoy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// BenchmarkHashTables measures what a cluster takes in Envoy whose requests are hashed, beyond one with least requests: by a
// ring, and by tables of several sizes. It is what maglevSize rests on.
func BenchmarkHashTables(b *testing.B) {
	for _, instances := range []int{2, 10, 100} {
		plain := hashedEnvoy(b, "LEAST_REQUEST", 0, instances)
		for _, table := range []int{0, 16381, 32749, 65537} {
			name, policy := fmt.Sprintf("instances=%d/table=%d", instances, table), "MAGLEV"
			if table == 0 {
				name, policy = fmt.Sprintf("instances=%d/ring", instances), "RING_HASH"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportMetric((hashedEnvoy(b, policy, table, instances)-plain)/1000, "kB/cluster")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// hashedClusters are clusters of a bootstrap.
func hashedClusters(clusters int, policy string, table, instances int) (list []map[string]any) {
	type object = map[string]any
	for c := range clusters {
		var endpoints []object
		for i := range instances {
			endpoints = append(endpoints, object{
				"endpoint": object{"address": object{"socket_address": object{"address": fmt.Sprintf("127.1.%d.%d", c, i+1), "port_value": 9}}},
				"metadata": object{"filter_metadata": object{"envoy.lb": object{"hash_key": fmt.Sprintf("slot-%d", i+1)}}},
			})
		}
		name := fmt.Sprint(c)
		cluster := object{"name": name, "type": "STATIC", "lb_policy": policy, "load_assignment": object{"cluster_name": name, "endpoints": []object{{"lb_endpoints": endpoints}}}}
		if table > 0 {
			cluster["maglev_lb_config"] = object{"table_size": table}
		}
		list = append(list, cluster)
	}
	return list
}

// hashedEnvoy returns how many bytes an Envoy has allocated for each of its 200 clusters with so many endpoints.
func hashedEnvoy(b *testing.B, policy string, table, instances int) float64 {
	b.Helper()
	const clusters = 200
	binary, err := envoytest.Find()
	if err != nil {
		b.Fatal(err)
	}
	port := envoytest.FreePort(b)
	admin := fmt.Sprintf("127.0.0.1:%d", port)
	text, err := json.Marshal(map[string]any{"static_resources": map[string]any{"clusters": hashedClusters(clusters, policy, table, instances)}})
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "envoy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	envoy := exec.Command(binary, "-c", file, "--concurrency", "2", "--use-dynamic-base-id", "-l", "off",
		"--config-yaml", fmt.Sprintf(`admin: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}`, port))
	envoy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := envoy.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = envoy.Process.Kill(); _ = envoy.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if body, err := adminAnswer("http://" + admin + "/ready"); err == nil && body == "LIVE\n" {
			break
		} else if time.Now().After(deadline) {
			b.Fatalf("Envoy is not ready: %q, %v", body, err)
		}
	}
	var memory struct {
		Allocated json.Number `json:"allocated"`
	}
	body, err := adminAnswer("http://" + admin + "/memory")
	if err == nil {
		err = json.Unmarshal([]byte(body), &memory)
	}
	allocated, _ := memory.Allocated.Float64()
	if err != nil || allocated == 0 {
		b.Fatalf("Envoy's memory: %q, %v", body, err)
	}
	return allocated / clusters
}

// adminAnswer is what Envoy's admin endpoint answers.
func adminAnswer(url string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
