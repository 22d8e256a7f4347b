// Command vaultdev serves a real Vault core on loopback, with storage in
// memory, KV version 2, and authentication by token, AppRole and Kubernetes:
// what Relay's tests and demo read certificates from.
//
// Once it serves it prints one line of JSON, {"addr","token","unseal_key"}, and
// it ends on SIGINT, SIGTERM and, with -stdin, when its standard input closes.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8200", "address to serve on; port 0 takes a free one")
	mount := flag.String("mount", "secret", "where KV version 2 is mounted; empty for nowhere")
	stdin := flag.Bool("stdin", false, "end when standard input closes")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	if err := run(ctx, *addr, *mount); err != nil {
		fmt.Fprintln(os.Stderr, "vaultdev:", err)
		os.Exit(1)
	}
}

// ready is the line printed to standard output.
type ready struct {
	Addr      string `json:"addr"`
	Token     string `json:"token"`
	UnsealKey string `json:"unseal_key"`
}

func run(ctx context.Context, addr, mount string) error {
	core, keys, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = core.Shutdown() }()
	if mount != "" {
		if err := mountKV(ctx, core, keys.RootToken, mount); err != nil {
			return fmt.Errorf("mount KV version 2 at %s: %w", mount, err)
		}
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	err = json.NewEncoder(os.Stdout).Encode(ready{
		Addr:      "http://" + listener.Addr().String(),
		Token:     keys.RootToken,
		UnsealKey: base64.StdEncoding.EncodeToString(keys.SecretShares[0]),
	})
	if err != nil {
		return fmt.Errorf("print the ready line: %w", err)
	}
	server := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{},
	})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// start makes, initialises and unseals a core that has one unseal key.
func start(ctx context.Context) (*vault.Core, *vault.InitResult, error) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("make the storage: %w", err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Logger:             logger,
		Physical:           storage,
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory, "kubernetes": kubernetes.Factory},
		DisableMlock:       true,
		BuiltinRegistry:    builtins{},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make the core: %w", err)
	}
	seal := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	keys, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: seal, RecoveryConfig: seal})
	if err != nil {
		return nil, nil, fmt.Errorf("initialise: %w", err)
	}
	if _, err := core.Unseal(keys.SecretShares[0]); err != nil {
		return nil, nil, fmt.Errorf("unseal: %w", err)
	}
	return core, keys, nil
}

// mountKV mounts KV version 2 and waits until it answers: a new mount refuses
// requests while it sets up its storage.
func mountKV(ctx context.Context, core *vault.Core, token, mount string) error {
	ctx = namespace.RootContext(ctx)
	_, err := core.HandleRequest(ctx, &logical.Request{
		Operation:   logical.UpdateOperation,
		Path:        "sys/mounts/" + mount,
		ClientToken: token,
		Data:        map[string]any{"type": "kv", "options": map[string]any{"version": "2"}},
	})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := core.HandleRequest(ctx, &logical.Request{
			Operation:   logical.ReadOperation,
			Path:        mount + "/config",
			ClientToken: token,
		})
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
