package monitor

import "fmt"

// BytesText is a number of bytes for people: "512 B", "1.5 KiB", in powers of 1,024 up to TiB.
func BytesText(n int64) string {
	const kib = 1024
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= kib && unit < len(units)-1 {
		value /= kib
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
