package liveroom

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"imserver/internal/config"
)

// key is what a join hands out and every poll brings back. It needs no state:
// whichever node gets it sees that it is genuine (protocol 03 §13.1).
type key struct {
	room int64
	uid  int64 // negative of a visitor without an account
}

const macSize = 12

func (k key) mac(secret string) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("live room key"), uint64(k.room)), uint64(k.uid)))
	return h.Sum(nil)[:macSize]
}

// sign returns the key as clients get it.
func (k key) sign(app *config.App) string {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(k.room)), uint64(k.uid))
	return base64.RawURLEncoding.EncodeToString(append(b, k.mac(app.Keys[0])...))
}

// parseKey reads a key that one of the app's secrets signed.
func parseKey(app *config.App, text string) (k key, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != 16+macSize {
		return k, false
	}
	k = key{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
	for _, secret := range app.Keys {
		if hmac.Equal(k.mac(secret), b[16:]) {
			return k, true
		}
	}
	return k, false
}
