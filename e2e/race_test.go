//go:build race

package e2e

// raceDetector tells that the tests are built with -race, and so is the program.
const raceDetector = true
