package xds

// locked runs f under the store's lock, and unlocked after a panic too.
func (s *Store) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// readLocked does so for reading.
func (s *Store) readLocked(f func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f()
}
