package relay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relay/internal/failure"
	"relay/internal/files"
	"relay/internal/problem"
)

// pageSuffix ends the names of the files with pages. Others in the folder are not looked at.
const pageSuffix = ".html"

// readErrorPages reads the error pages of all fleets. A page that cannot be used costs itself
// alone: the built-in one is shown, and the mistake is among the Warnings.
func (c *Config) readErrorPages() {
	c.Fleets, c.Warnings = slices.Clone(c.Fleets), slices.Clip(c.Warnings)
	for i := range c.Fleets {
		f := &c.Fleets[i]
		if f.ErrorPagesDir == "" {
			continue
		}
		warn := func(err error) {
			c.Warnings = append(c.Warnings, problem.Problem{
				Kind: problem.Source, Severity: problem.Ignored, Fleet: f.Name, Subject: "error-pages", Reason: err.Error(),
				Action: "correct the file and restart Relay; until then visitors see the built-in page",
			})
		}
		f.ErrorPages = readPages(f.ErrorPagesDir, warn)
	}
}

// readPages reads the pages of a folder, and reports those that cannot be used.
func readPages(dir string, report func(error)) failure.Pages {
	entries, err := os.ReadDir(dir)
	if err != nil {
		report(fmt.Errorf("the folder cannot be read: %w", err))
		return nil
	}
	pages := make(failure.Pages)
	found := false
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), pageSuffix)
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		found = true
		page, err := readPage(filepath.Join(dir, entry.Name()), name)
		if err != nil {
			report(fmt.Errorf("%.100q cannot be used: %w", entry.Name(), err))
			continue
		}
		pages[name] = page
	}
	if !found {
		report(fmt.Errorf("the folder %s has no page: they are called CODE%s, such as busy%[2]s, or %s%[2]s", absolute(dir), pageSuffix, failure.DefaultPage))
	}
	return pages
}

func readPage(path, name string) (failure.Page, error) {
	if err := failure.CheckPageName(name); err != nil {
		return failure.Page{}, err
	}
	html, _, err := files.ReadWhole(path, failure.MaxPage)
	switch {
	case errors.Is(err, files.ErrTooLarge):
		return failure.Page{}, fmt.Errorf("it is larger than %d kB", failure.MaxPage>>10)
	case errors.Is(err, fs.ErrNotExist):
		return failure.Page{}, errors.New("it leads to no file")
	case err != nil:
		return failure.Page{}, err
	}
	return failure.ParsePage(html)
}
