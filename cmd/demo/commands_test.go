package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"relay/internal/logtest"
)

// ask runs a command of Relay until its answer is there. Its status may say that something is wrong.
func (p *process) ask(line, answer string) {
	p.t.Helper()
	eventually(p.t, line, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if out, _ := p.relay(ctx, line).CombinedOutput(); !strings.Contains(string(out), answer) {
			return fmt.Errorf("answered without %q:\n%s", answer, out)
		}
		return nil
	})
}

// relay is a line that runs relay, with what the demo said to export.
func (p *process) relay(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Env = append(os.Environ(), p.exported...)
	return cmd
}

// follow runs a line that does not end by itself, while something is done, until it shows a text.
func (p *process) follow(line, want string, do func()) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out logtest.Buffer
	cmd := p.relay(ctx, line)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, line, func() error {
		do()
		if !strings.Contains(out.String(), want) {
			return fmt.Errorf("shows no %q:\n%s", want, out.String())
		}
		return nil
	})
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); ctx.Err() != nil {
		p.t.Errorf("%s does not end when it is interrupted: %v", line, err)
	}
}

// post switches the demo's own traffic on or off.
func (p *process) post(wish string) {
	p.t.Helper()
	if out := shell(p.t, "curl -s -X POST http://127.0.0.1:"+p.ports["renew"]+"/traffic/"+wish); !strings.Contains(out, "the demo sends") {
		p.t.Errorf("traffic %s: %s", wish, out)
	}
}
