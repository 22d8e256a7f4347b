// Package vaulttest runs a real Vault core in a process of its own and writes
// to it the way marathon-acme does.
package vaulttest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// startTimeout is generous: the program is large, and a machine that runs many
// tests reads it slowly.
const startTimeout = 60 * time.Second

// Server is a running Vault with KV version 2 mounted at "secret".
type Server struct {
	// Addr is the base URL, Token the root token.
	Addr, Token string

	unsealKey string
	client    *api.Client
	stop      func()
}

// Start runs a Vault until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Run starts a Vault; ctx bounds the start only. The caller has to call Stop,
// but the process also ends when the caller's does.
func Run(ctx context.Context) (*Server, error) { return RunAt(ctx, "127.0.0.1:0") }

// RunAt is Run at a given host and port, such as those of a Vault that was
// stopped: it comes back empty.
func RunAt(ctx context.Context, address string) (*Server, error) {
	binary, err := locate()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "-addr", address, "-mount", "secret", "-stdin")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start vaultdev: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start vaultdev: %w", err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start vaultdev: %w", err)
	}
	s := &Server{stop: sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})}
	if err := s.connect(ctx, stdout); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// connect reads the line that vaultdev prints when it serves.
func (s *Server) connect(ctx context.Context, stdout io.Reader) error {
	type line struct {
		text []byte
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(stdout).ReadBytes('\n')
		lines <- line{text, err}
	}()
	var ready struct {
		Addr, Token string
		UnsealKey   string `json:"unseal_key"`
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for vaultdev: %w", ctx.Err())
	case got := <-lines:
		if got.err != nil {
			return fmt.Errorf("vaultdev ended without serving: %w", got.err)
		}
		if err := json.Unmarshal(got.text, &ready); err != nil {
			return fmt.Errorf("read vaultdev's first line: %w", err)
		}
	}
	s.Addr, s.Token, s.unsealKey = ready.Addr, ready.Token, ready.UnsealKey
	client, err := NewClient(s.Addr, s.Token)
	s.client = client
	return err
}

// NewClient is a Vault client whose address, token and namespace do not come
// from the environment.
func NewClient(addr, token string) (*api.Client, error) {
	config := api.DefaultConfig()
	config.Address = addr
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("make a Vault client: %w", err)
	}
	client.ClearNamespace()
	client.SetToken(token)
	return client, nil
}

// Client has the root token.
func (s *Server) Client() *api.Client { return s.client }

// Stop ends the process; everything in it is lost.
func (s *Server) Stop() {
	if s.client != nil {
		s.client.CloneConfig().HttpClient.CloseIdleConnections()
	}
	s.stop()
}

// Seal makes Vault refuse every request until Unseal.
func (s *Server) Seal(ctx context.Context) error {
	if err := s.client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// Unseal undoes Seal.
func (s *Server) Unseal(ctx context.Context) error {
	status, err := s.client.Sys().UnsealWithContext(ctx, s.unsealKey)
	if err != nil {
		return fmt.Errorf("unseal: %w", err)
	}
	if status.Sealed {
		return errors.New("unseal: Vault is still sealed")
	}
	return nil
}

// locate finds the program that "make tools" builds.
func locate() (string, error) {
	if path := os.Getenv("RELAY_VAULTDEV"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find vaultdev: %w", err)
	}
	for !isModuleRoot(dir) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find vaultdev: not inside the module relay; set RELAY_VAULTDEV to the program")
		}
		dir = parent
	}
	path := filepath.Join(dir, ".tools", "vaultdev")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find vaultdev: %w: run make tools", err)
	}
	return path, nil
}

func isModuleRoot(dir string) bool {
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(content), "module relay\n")
}
