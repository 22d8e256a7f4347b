//go:build describe

// With the tag "describe" the program describes its own command line in place of running
// it: go run -tags describe ./cmd/relay DIR. It is a program of its own, as what packages
// have beside relay is of no use to those who run it.

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: SOURCE_DATE_EPOCH=SECONDS describe DIR")
		os.Exit(2)
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err == nil {
		err = describe(os.Args[1], time.Unix(seconds, 0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "describe:", err)
		os.Exit(1)
	}
}
