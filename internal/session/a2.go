package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"imserver/internal/command"
)

// claims are what an A2 key says: which login instance of which account it is
// the key of. The key is self-verifying, so it survives a restart; whether the
// instance still lives is asked of the store.
type claims struct {
	App    uint32 `json:"app"`
	UID    string `json:"sub"`
	Inst   uint32 `json:"ins"`
	Class  Class  `json:"cls"`
	Issued int64  `json:"iat"` // when the ticket was issued
	Expiry int64  `json:"exp"` // when the ticket ends
	User   string `json:"usr"`
}

// The jwt.Claims interface: only the end is checked by the library.
func (c claims) GetExpirationTime() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Expiry, 0)), nil
}
func (c claims) GetIssuedAt() (*jwt.NumericDate, error)  { return nil, nil }
func (c claims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (c claims) GetIssuer() (string, error)              { return "", nil }
func (c claims) GetSubject() (string, error)             { return c.UID, nil }
func (c claims) GetAudience() (jwt.ClaimStrings, error)  { return nil, nil }

// secret derives the signing key of A2 keys from an app's secret, so that a
// ticket can never pass as an A2 key or the other way round, and every node
// that knows the app can verify.
func secret(app uint32, key string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write([]byte("imserver a2 v1 " + strconv.FormatUint(uint64(app), 10)))
	return mac.Sum(nil)
}

func sign(c claims, key string) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(secret(c.App, key))
}

// maxA2 is longer than any key of ours.
const maxA2 = 1024

// parse verifies a2 against any of the app's keys. An expired key yields its
// claims and [command.CodeSessionOver], anything else wrong no claims and
// [command.CodeNoSession] (protocol 01 §4): the library fills them in before it
// looks at the signature.
func parse(a2 string, app uint32, keys []string, now func() time.Time) (claims, error) {
	if len(a2) > maxA2 {
		return claims{}, command.Err(command.CodeNoSession, "")
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	for _, key := range keys {
		var c claims
		_, err := parser.ParseWithClaims(a2, &c, func(*jwt.Token) (any, error) { return secret(app, key), nil })
		if err != nil || c.App != app {
			continue
		}
		if now().Unix() >= c.Expiry {
			return c, command.Err(command.CodeSessionOver, "")
		}
		return c, nil
	}
	return claims{}, command.Err(command.CodeNoSession, "")
}
