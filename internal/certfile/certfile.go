// Package certfile serves TLS with a certificate from files, and reads them
// again when they change, so that a renewal needs no restart.
package certfile

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Source is a certificate and its key on disk.
type Source struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate // guarded by mu
	stamp   string           // guarded by mu: sizes and times of the files as loaded
	checked time.Time        // guarded by mu
}

// checkEvery is how often a handshake looks whether the files changed.
const checkEvery = 10 * time.Second

// Open reads the PEM files once; an error says which is unusable.
func Open(cert, key string, log *slog.Logger) (*Source, error) {
	s := &Source{cert: cert, key: key, log: log}
	return s, s.load()
}

// Config returns a server configuration that serves the newest certificate.
func (s *Source) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.get}
}

func (s *Source) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.checked) > checkEvery {
		s.checked = now
		if stamp(s.cert, s.key) != s.stamp {
			// A renewal in progress may be half written: the old one goes on.
			if err := s.load(); err != nil {
				s.log.Error("the new certificate is unusable, serving the old one", "err", err)
			}
		}
	}
	return s.loaded, nil
}

func (s *Source) load() error {
	at := stamp(s.cert, s.key)
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	s.loaded, s.stamp = &pair, at
	return nil
}

func stamp(paths ...string) string {
	var text string
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			text += fmt.Sprintf("%d@%d;", info.Size(), info.ModTime().UnixNano())
		}
	}
	return text
}
