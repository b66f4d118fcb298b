package loadgen

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU float64 // seconds of processor time, user and system
	RSS int64   // bytes of memory resident now
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux there is.
const ticksPerSecond = 100

// ReadUsage reads /proc/<pid>; pid 0 means this process, a negative one
// nobody (the zero Usage).
func ReadUsage(pid int) (Usage, error) {
	var u Usage
	if pid < 0 {
		return u, nil
	}
	dir := "/proc/self"
	if pid > 0 {
		dir = "/proc/" + strconv.Itoa(pid)
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The name in brackets may hold spaces; the fields after it do not.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return u, fmt.Errorf("%s/stat has another form", dir)
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	u.CPU = (user + system) / ticksPerSecond
	u.RSS = pages * int64(os.Getpagesize())
	return u, nil
}
