//go:build unix

package admission

import "syscall"

// openFiles is how many files the process may have open.
func openFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > unlimited {
		return unlimited
	}
	return max(int(l.Cur), 2*reserve)
}
