package monitor

import "time"

// PerSecond is how many of n things there were a second; 0 for no time.
func PerSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
