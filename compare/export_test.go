package compare

import "time"

// WaitForGreetings sets how long a server that speaks first may take.
func (a *Asking) WaitForGreetings(most time.Duration) { a.greeting = most }
