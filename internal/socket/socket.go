// Package socket reads and writes sockets that do not block without telling
// the Go scheduler of the system call, which cannot wait.
//
// Told of a call, the scheduler wakes its monitor, which then looks every 20 µs
// whether the call takes long, until the process has nothing to do. A server
// that pauses for each commit, a thousand times a second, wakes it as often:
// it took an eighth of the server's time, and a processor away from the
// database beside it (docs/performance.md).
package socket
