package usersig_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"imserver/internal/usersig"
)

const (
	key   = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	appID = 1400000001
)

var now = time.Unix(1795384375, 0)

func claim(userID string) usersig.Claim {
	return usersig.Claim{SDKAppID: appID, UserID: userID, Keys: []string{key}, Now: now}
}

// code is the protocol code of err: 0 for none, -1 for an error without a code.
func code(err error) int {
	var e *usersig.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return -1
}

// translate turns a ticket into what standard base64 decoders read.
var translate = strings.NewReplacer("*", "+", "-", "/", "_", "=")

// MustInflate returns the JSON inside a ticket, read with nothing of the package under test.
func MustInflate(t *testing.T, sig string) []byte {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(translate.Replace(sig))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// MustPack makes a ticket of any text, valid or not.
func MustPack(t testing.TB, text string) string {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	back := strings.NewReplacer("+", "*", "/", "-", "=", "_")
	return back.Replace(base64.StdEncoding.EncodeToString(packed.Bytes()))
}

// Ensure tickets of the vendor's public library are judged as the protocol says.
func TestVerifyVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			ticket, err := usersig.Verify(v.sig, claim(v.userID))
			if got := code(err); got != v.code {
				t.Fatalf("code %d (%v), want %d", got, err, v.code)
			}
			if v.code == 0 && ticket.UserID != v.userID {
				t.Fatalf("user %q, want %q", ticket.UserID, v.userID)
			}
		})
	}
	v1 := vectors[0].sig
	if _, err := usersig.Verify(v1, claim("mallory")); !errors.Is(err, usersig.ErrUserMismatch) {
		t.Errorf("presented by another user: %v", err)
	}
	if _, err := usersig.Verify(v1[:100], claim("alice")); !errors.Is(err, usersig.ErrMalformed) {
		t.Errorf("cut to 100 characters: %v", err)
	}
}

// Ensure Sign makes the very JSON the vendor's library makes. Compressed bytes may differ between zlib libraries.
func TestSignVectors(t *testing.T) {
	for _, v := range vectors {
		if v.code == 70009 {
			continue // signed with a secret the vectors do not tell
		}
		t.Run(v.name, func(t *testing.T) {
			ticket, err := usersig.Parse(v.sig)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := usersig.Sign(key, ticket)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			if err := json.Unmarshal(MustInflate(t, sig), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(v.json), &want); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			for k := range want {
				if got[k] != want[k] {
					t.Errorf("%s: got %v, want %v", k, got[k], want[k])
				}
			}
		})
	}
}

// Ensure the checks come in the protocol's order: a ticket with every fault answers the first one.
func TestVerifyOrder(t *testing.T) {
	sig, err := usersig.Sign("another key", usersig.Ticket{UserID: "bob", SDKAppID: 7, IssuedAt: 1, Lifetime: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := claim("alice")
	c.VoidUntil = now
	steps := []struct {
		want error
		mend func()
	}{
		{usersig.ErrAppMismatch, func() { c.SDKAppID = 7 }},
		{usersig.ErrUserMismatch, func() { c.UserID = "bob" }},
		{usersig.ErrSignature, func() { c.Keys = append(c.Keys, "", "another key") }},
		{usersig.ErrExpired, func() { c.Now = time.Unix(1, 0) }},
		{usersig.ErrVoid, func() { c.VoidUntil = time.Unix(0, 0) }},
		{nil, func() {}},
	}
	for _, step := range steps {
		if _, err := usersig.Verify(sig, c); !errors.Is(err, step.want) {
			t.Fatalf("got %v, want %v", err, step.want)
		}
		step.mend()
	}
}

// Ensure the bounds in time are exact: good while now < issued + lifetime, void when issued at or before the kick.
func TestVerifyBounds(t *testing.T) {
	at := now.Unix()
	sig, err := usersig.Sign(key, usersig.Ticket{UserID: "alice", SDKAppID: appID, IssuedAt: at, Lifetime: 60})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name           string
		now, voidUntil int64
		want           error
	}{
		{"AtIssue", at, 0, nil},
		{"BeforeIssue", at - 3600, 0, nil}, // clocks differ
		{"LastSecond", at + 59, 0, nil},
		{"End", at + 60, 0, usersig.ErrExpired},
		{"KickedBefore", at, at - 1, nil},
		{"KickedSameSecond", at, at, usersig.ErrVoid},
		{"KickedAfter", at, at + 1, usersig.ErrVoid},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := claim("alice")
			c.Now = time.Unix(test.now, 0)
			if test.voidUntil != 0 {
				c.VoidUntil = time.Unix(test.voidUntil, 0)
			}
			if _, err := usersig.Verify(sig, c); !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestExpiresAt(t *testing.T) {
	for _, test := range []struct {
		issued, lifetime int64
		good             bool
	}{
		{now.Unix(), math.MaxInt64, true},
		{math.MaxInt64, math.MaxInt64, true},
		{now.Unix(), math.MinInt64, false},
		{math.MinInt64, math.MinInt64, false},
		{math.MinInt64, 1, false},
		{now.Unix(), 0, false},
	} {
		ticket := usersig.Ticket{IssuedAt: test.issued, Lifetime: test.lifetime}
		if good := now.Before(ticket.ExpiresAt()); good != test.good {
			t.Errorf("issued %d for %d: good is %v", test.issued, test.lifetime, good)
		}
	}
}

// Ensure nothing that is not a ticket is taken for one, and that nothing small costs much.
func TestParseRefuses(t *testing.T) {
	const rest = `"TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1,"TLS.sig":""}`
	const head = `{"TLS.ver":"2.0","TLS.identifier":`
	for name, sig := range map[string]string{
		"NotBase64":         "!!!!",
		"StandardBase64":    translate.Replace(vectors[0].sig),
		"NotZlib":           "AAAA",
		"LineBreak":         vectors[0].sig[:40] + "\n" + vectors[0].sig[40:],
		"TooLong":           strings.Repeat("A", usersig.MaxTicketBytes+4),
		"NotJSON":           MustPack(t, "hello"),
		"TrailingJSON":      MustPack(t, head+`"a",`+rest+"{}"),
		"NotAnObject":       MustPack(t, "[]"),
		"DeepJSON":          MustPack(t, strings.Repeat("[", 60<<10)),
		"ZipBomb":           MustPack(t, head+`"a",`+strings.Repeat(" ", 1<<20)+rest),
		"NotUTF8":           MustPack(t, head+"\"\xff\","+rest),
		"OtherVersion":      MustPack(t, strings.Replace(head, "2.0", "1.0", 1)+`"a",`+rest),
		"NoUser":            MustPack(t, head+`"",`+rest),
		"LongUser":          MustPack(t, head+`"`+strings.Repeat("a", 33)+`",`+rest),
		"LineFeedInUser":    MustPack(t, head+`"a\nb",`+rest),
		"NulInUser":         MustPack(t, head+`"a\u0000b",`+rest),
		"NumberAsUser":      MustPack(t, head+`1,`+rest),
		"HugeApp":           MustPack(t, head+`"a",`+strings.Replace(rest, "1400000001", "4294967296", 1)),
		"HugeTime":          MustPack(t, head+`"a",`+strings.Replace(rest, "1700000000", "9223372036854775808", 1)),
		"FractionAsTime":    MustPack(t, head+`"a",`+strings.Replace(rest, "1700000000", "1.5", 1)),
		"UserbufNotBase64":  MustPack(t, head+`"a","TLS.userbuf":"!",`+rest),
		"LineFeedInUserbuf": MustPack(t, head+`"a","TLS.userbuf":"aGVs\nbG8=",`+rest),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := usersig.Parse(sig); !errors.Is(err, usersig.ErrMalformed) {
				t.Fatalf("got %v, want %v", err, usersig.ErrMalformed)
			}
		})
	}
	if _, err := usersig.Parse(""); !errors.Is(err, usersig.ErrEmpty) {
		t.Errorf("empty: got %v", err)
	}
	if _, err := usersig.Parse(MustPack(t, head+`"a","x":[1],`+rest)); err != nil {
		t.Errorf("unknown key: %v", err)
	}
}

// Ensure a signature is needed: none, an empty one and one under an empty key are all wrong.
func TestVerifySignature(t *testing.T) {
	const body = `{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000`
	for name, text := range map[string]string{
		"None":      body + `}`,
		"Empty":     body + `,"TLS.sig":""}`,
		"NotBase64": body + `,"TLS.sig":"!!"}`,
		"Short":     body + `,"TLS.sig":"M694"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := claim("alice")
			c.Keys = []string{"", key}
			if _, err := usersig.Verify(MustPack(t, text), c); !errors.Is(err, usersig.ErrSignature) {
				t.Fatalf("got %v", err)
			}
			c.Keys = nil
			if _, err := usersig.Verify(MustPack(t, text), c); !errors.Is(err, usersig.ErrSignature) {
				t.Fatalf("without keys: got %v", err)
			}
		})
	}
	// Changing any signed value breaks it.
	good := vectors[2].json // with userbuf
	for _, change := range [][2]string{
		{`"bob"`, `"bab"`}, {"1700000000", "1700000001"}, {"1576800000", "1576800001"}, {"aGVsbG8=", "aGVsbG9="},
		{`"TLS.userbuf":"aGVsbG8=",`, ""},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		ticket, err := usersig.Parse(MustPack(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if err := ticket.Verify(claim(ticket.UserID)); !errors.Is(err, usersig.ErrSignature) {
			t.Errorf("%s changed: got %v", change[0], err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	good := usersig.Ticket{UserID: "alice", SDKAppID: appID, IssuedAt: 1, Lifetime: 1}
	for name, change := range map[string]func(*usersig.Ticket){
		"NoUser":      func(t *usersig.Ticket) { t.UserID = "" },
		"LongUser":    func(t *usersig.Ticket) { t.UserID = strings.Repeat("a", usersig.MaxUserIDBytes+1) },
		"LineFeed":    func(t *usersig.Ticket) { t.UserID = "a\nb" },
		"NotUTF8":     func(t *usersig.Ticket) { t.UserID = "\xff" },
		"NoLifetime":  func(t *usersig.Ticket) { t.Lifetime = 0 },
		"HugeUserBuf": func(t *usersig.Ticket) { t.UserBuf = incompressible(usersig.MaxTicketBytes) },
	} {
		t.Run(name, func(t *testing.T) {
			ticket := good
			change(&ticket)
			if sig, err := usersig.Sign(key, ticket); err == nil {
				t.Fatalf("signed: %s", sig)
			}
		})
	}
	if _, err := usersig.Sign("", good); err == nil {
		t.Error("signed with an empty key")
	}
}

// incompressible returns n bytes of a multiplicative generator.
func incompressible(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// Ensure a decoder fed anything neither panics nor accepts what it could not itself have written.
func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.sig)
		f.Add(v.sig[:len(v.sig)/2])
		f.Add(MustPack(f, v.json+" "))
	}
	f.Add("")
	f.Add(MustPack(f, strings.Repeat(`{"a":`, 1000)))
	f.Add(MustPack(f, `{"TLS.ver":"2.0","TLS.identifier":"a","TLS.userbuf":""}`))
	f.Fuzz(func(t *testing.T, sig string) {
		ticket, err := usersig.Parse(sig)
		if err != nil {
			if c := code(err); c != 70003 && c != 70002 {
				t.Fatalf("code %d: %v", c, err)
			}
			return
		}
		if len(ticket.UserBuf) > usersig.MaxTicketBytes/2 {
			return // a better compressor than ours may have made it fit
		}
		if ticket.Lifetime <= 0 {
			ticket.Lifetime = 1
		}
		again, err := usersig.Sign(key, ticket)
		if err != nil {
			t.Fatalf("parsed but cannot be signed: %v", err)
		}
		c := usersig.Claim{SDKAppID: ticket.SDKAppID, UserID: ticket.UserID, Keys: []string{key}, Now: time.Unix(math.MinInt32, 0)}
		got, err := usersig.Verify(again, c)
		if err != nil && !errors.Is(err, usersig.ErrExpired) {
			t.Fatalf("own ticket refused: %v", err)
		}
		if err == nil && !bytes.Equal(got.UserBuf, ticket.UserBuf) {
			t.Fatalf("userbuf %x became %x", ticket.UserBuf, got.UserBuf)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	ticket := usersig.Ticket{UserID: "alice", SDKAppID: appID, IssuedAt: 1700000000, Lifetime: 86400}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := usersig.Sign(key, ticket); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	c := claim("alice")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := usersig.Verify(vectors[0].sig, c); err != nil {
			b.Fatal(err)
		}
	}
}
