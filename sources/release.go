package sources

// Yielding returns how many instances of older versions take nothing new while a service is released: one
// for each healthy instance of the newest version, once there are more than are wanted in the end. Running
// is how many there are, or shall be, of older versions, and old how many of them can be reached.
func Yielding(old, running, healthy, wanted int) int {
	return max(0, min(old, healthy, healthy+running-wanted))
}
