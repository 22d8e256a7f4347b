package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// keysOf is the input from which keys are read: each when it is pressed, if that is a terminal. Restore gives the terminal
// back as it was. A terminal that belongs to another program is left to that.
func keysOf(in *os.File) (keys io.Reader, restore func()) {
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return in, func() {} // no terminal: lines, or nothing
	}
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || group != unix.Getpgrp() {
		return nil, func() {} // whoever reads in the background is stopped
	}
	pressed := *before
	pressed.Lflag &^= unix.ICANON | unix.ECHO // Ctrl-C still is one
	pressed.Cc[unix.VMIN], pressed.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &pressed); err != nil {
		return in, func() {}
	}
	return in, func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }
}
