package certfile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imserver/internal/certfile"
)

// MustWrite writes a self-signed pair for name into dir.
func MustWrite(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func served(t *testing.T, c *tls.Config) string {
	t.Helper()
	got, err := c.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(got.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

// Ensure a renewed certificate is served without a restart, and a broken one is not.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	cert, key := MustWrite(t, dir, "first.example")
	s, err := certfile.Open(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if name := served(t, s.Config()); name != "first.example" {
		t.Fatal(name)
	}
	MustWrite(t, dir, "second.example.org")
	s.RecheckForTest()
	if name := served(t, s.Config()); name != "second.example.org" {
		t.Errorf("after renewal: %s", name)
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.RecheckForTest()
	if name := served(t, s.Config()); name != "second.example.org" {
		t.Errorf("with a broken file: %s", name)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := certfile.Open("/nonexistent/c", "/nonexistent/k", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}
