// Command bench-xds measures the xDS server: what a change, a connection and a
// reconnection cost for a number of apps and Envoys. The server runs in a
// process of its own, so that its CPU and memory are told apart from those of
// the load. It prints a Markdown table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

type settings struct {
	profiles string
}

func main() {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	wanted := flag.String("rows", strings.Join(names, ","), "rows to run")
	runs := flag.Int("runs", 1, "how often to run each row; the table shows the median and the spread")
	profiles := flag.String("profiles", "", "directory to write the server's profiles to")
	server := flag.Bool("serve", false, "be the server process (used by the program itself)")
	secured := flag.Bool("tls", false, "with -serve: serve by mutual TLS")
	apps := flag.Int("apps", 0, "with -serve: apps")
	changes := flag.Int("changes", 0, "with -serve: changes to prepare; with -watch: to wait for")
	watched := flag.String("watch", "", "be a watching process of this server (used by the program itself)")
	streams := flag.Int("streams", 0, "with -watch: streams")
	flag.Parse()
	var err error
	switch {
	case *server:
		err = serve(*apps, *changes, *secured, os.Stdin, os.Stdout)
	case *watched != "":
		err = watch(*watched, *streams, *changes, os.Stdin, os.Stdout)
	default:
		err = run(strings.Split(*wanted, ","), *runs, settings{*profiles})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-xds:", err)
		os.Exit(1)
	}
}

func run(wanted []string, runs int, s settings) error {
	// The load leaves as much CPU to the server as it can, but not all memory.
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(4 << 30)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, name := range wanted {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == name }) {
			return fmt.Errorf("no row %q", name)
		}
	}
	printHead(os.Stdout)
	for _, r := range rows {
		if !slices.Contains(wanted, r.name) {
			continue
		}
		var all [][]figure
		for range runs {
			figures, err := r.run(ctx, s)
			if err != nil {
				return err
			}
			all = append(all, figures)
			debug.FreeOSMemory()
		}
		printFigures(os.Stdout, all)
	}
	return nil
}

func printHead(w io.Writer) {
	fmt.Fprintln(w, "| work | at most | figure | lowest to highest |")
	fmt.Fprintln(w, "|---|--:|--:|--:|")
}

// printFigures prints the median of each figure over the runs.
func printFigures(w io.Writer, runs [][]figure) {
	for i, f := range runs[0] {
		values := make([]float64, len(runs))
		for n := range runs {
			values[n] = runs[n][i].value
		}
		slices.Sort(values)
		limit, median := "", values[len(values)/2]
		if f.limit > 0 {
			limit = number(f.limit) + " " + f.unit
		}
		mark := ""
		if f.limit > 0 && median > f.limit {
			mark = " **missed**"
		}
		fmt.Fprintf(w, "| %s | %s | %s %s%s | %s to %s |\n", f.work, limit, number(median), f.unit, mark,
			number(values[0]), number(values[len(values)-1]))
	}
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
