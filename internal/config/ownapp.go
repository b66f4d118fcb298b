package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// OwnAppID is the app a server without apps serves.
const OwnAppID = 1400000001

// MakeOwnApp gives a configuration that names no app that one. Its key is made once and kept in the data folder,
// which is made too, readable by the owner alone. It is for the server itself.
func (c *Config) MakeOwnApp() error { return c.ownApp(keptKey) }

// ErrNoKey is what FindOwnApp reports when no key has been made in the data folder yet.
var ErrNoKey = errors.New("there is no key; start the server first, or name its folder with --data-dir or its keys with --apps")

// FindOwnApp is MakeOwnApp for those who look for the key of a server that is there. It makes none.
func (c *Config) FindOwnApp() error {
	return c.ownApp(func(path string) (string, error) {
		key, err := readKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: %w", path, ErrNoKey)
		}
		return key, err
	})
}

func (c *Config) ownApp(key func(path string) (string, error)) error {
	if len(c.Apps) > 0 {
		return nil
	}
	text, err := key(filepath.Join(c.DataDir, fmt.Sprintf("app-%d.key", OwnAppID)))
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	c.Apps = []App{{SDKAppID: OwnAppID, Keys: []string{text}, Settings: c.Defaults}}
	return nil
}

// keptKey reads the key in a file, after making both if there are none. Of several processes that do this at once,
// all get the same key.
func keptKey(path string) (string, error) {
	if key, err := readKey(path); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	draft, err := os.CreateTemp(dir, ".key-") // with mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(draft.Name())
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	_, err = draft.WriteString(hex.EncodeToString(random) + "\n")
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return "", err
	}
	// A link fails where a rename would replace the key another process has just made.
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return readKey(path)
}

func readKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", fmt.Errorf("%s holds no key", path)
	}
	return key, nil
}
