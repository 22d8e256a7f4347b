// Package pagetest drives a real browser in tests of the status page.
package pagetest

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// findBrowser returns the browser's path. Its absence is a failure, so that a
// run without it is not taken for a run that passed.
func findBrowser(t testing.TB) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no browser in PATH (looked for %s): install Debian's package chromium", strings.Join(names, ", "))
	return ""
}

// Start starts a browser, with further options, which ends with the test. It has one tab.
func Start(t testing.TB, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(findBrowser(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
	}, options...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("close the browser: %v", err)
		}
		cancel()
	})
	return ctx
}

// Do runs actions, and fails the test if one fails.
func Do(t testing.TB, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// Run runs an action and returns its result.
func Run[T any](t testing.TB, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Prefer makes the browser ask for "light" or "dark" pages, and show no animation.
func Prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	})
}

// WithoutScripts makes the browser run no scripts of pages, or run them again.
func WithoutScripts(without bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: without})
		return err
	})
}

// WaitFor waits until an expression is true in the page. Its error names the expression.
func WaitFor(t testing.TB, ctx context.Context, expression string) {
	t.Helper()
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		ok, err := chromedp.Run(limit, chromedp.Evaluate[bool]("!!("+expression+")"))
		if err == nil && ok {
			return
		}
		select {
		case <-limit.Done():
			t.Fatalf("this did not become true: %s (%v)", expression, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Complaints collects what the browser complains of, such as a script that the policy of the
// page refuses, and each dialog that a script opens. The function that it returns takes what has
// been collected.
func Complaints(t testing.TB, ctx context.Context) (take func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, text)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch event := event.(type) {
		case *log.EventEntryAdded:
			note(string(event.Entry.Level) + ": " + event.Entry.Text + " " + event.Entry.URL)
		case *page.EventJavascriptDialogOpening:
			note("a script opened a dialog: " + event.Message)
		case *runtime.EventExceptionThrown:
			note("a script failed: " + event.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	Do(t, ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		return err
	}))
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		taken := all
		all = nil
		return taken
	}
}

// Outside is an expression that lists what sticks out of its card or the window, or is wider inside than outside.
const Outside = `[...document.querySelectorAll("body *")].filter(e => {
	if (e.closest("thead") && innerWidth <= 704 || e.closest(".hide") || e.closest(".skip") || e.closest("svg")) return false;
	const box = e.getBoundingClientRect(), card = e.closest(".card");
	const limit = card ? card.getBoundingClientRect().right : innerWidth;
	return box.width && (box.right > limit + 0.5 || box.left < -0.5 ||
		(!/inline|contents/.test(getComputedStyle(e).display) && !e.matches("input") && e.scrollWidth > e.clientWidth + 1));
}).map(e => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 60)).slice(0, 5)`
