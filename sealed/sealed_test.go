package sealed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"firemode/collections"
)

const (
	keyA = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	keyB = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func ring(t *testing.T, keys ...string) *Keyring {
	t.Helper()
	r, err := Parse(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustSeal(t *testing.T, r *Keyring, plain, binding string) string {
	t.Helper()
	token, err := r.Seal(plain, binding)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := ring(t, keyA)
	for _, plain := range []string{"", "Mei Tanaka", "Zoë \U0001F9EF", "a\x00b", strings.Repeat("x", plainMaxBytes)} {
		token := mustSeal(t, r, plain, "users.full_name.1")
		if got, err := r.Open(token, "users.full_name.1"); err != nil || got != plain {
			t.Errorf("open: got %.20q (%v), want %.20q", got, err, plain)
		}
	}
	if _, err := r.Seal(strings.Repeat("x", plainMaxBytes+1), "b"); err == nil {
		t.Error("a value above the limit was sealed")
	}
	for _, binding := range []string{"", "users\x00phone"} {
		if _, err := r.Seal("x", binding); err == nil {
			t.Errorf("sealed with binding %q, want it refused", binding)
		}
	}
}

func TestTokenOpensOnlyWhereItWasSealed(t *testing.T) {
	t.Parallel()
	r := ring(t, keyA)
	token := mustSeal(t, r, "0400 000 001", "users.phone.1")
	for _, binding := range []string{"users.phone.2", "users.full_name.1", "buildings.phone.1", "users.phone.", "users.phone.11", ""} {
		if got, err := r.Open(token, binding); !errors.Is(err, collections.ErrUnsealed) || got != "" {
			t.Errorf("open as %q: got %q (%v), want ErrUnsealed", binding, got, err)
		}
	}
}

func TestOnlyCanonicalTokensOpen(t *testing.T) {
	t.Parallel()
	r := ring(t, keyA)
	token := mustSeal(t, r, "Mei", "b") // its last character carries unused bits
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	spare := []byte(token)
	if i := strings.IndexByte(token, '='); i > 0 {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		spare[i-1] = alphabet[strings.IndexByte(alphabet, spare[i-1])^1]
	} else {
		t.Fatal("the token has no padding; choose another length")
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)-1] ^= 1
	for name, bad := range map[string]string{
		"empty":             "",
		"trailing junk":     token + "%%%",
		"trailing token":    token + token,
		"line break":        token[:10] + "\n" + token[10:],
		"leading space":     " " + token,
		"no padding":        strings.TrimRight(token, "="),
		"unused bits":       string(spare),
		"standard alphabet": base64.StdEncoding.EncodeToString(append([]byte{0x80, 0xfb, 0xff}, raw[3:]...)),
		"truncated":         base64.URLEncoding.EncodeToString(raw[:len(raw)-1]),
		"half a block":      base64.URLEncoding.EncodeToString(append(bytes.Clone(raw), make([]byte, 8)...)),
		"other version":     base64.URLEncoding.EncodeToString(append([]byte{0x81}, raw[1:]...)),
		"flipped bit":       base64.URLEncoding.EncodeToString(flipped),
		"plain text":        "Mei",
		"too long":          strings.Repeat("A", tokenMaxBytes+4),
	} {
		if got, err := r.Open(bad, "b"); !errors.Is(err, collections.ErrUnsealed) || got != "" {
			t.Errorf("%s: got %q (%v), want ErrUnsealed", name, got, err)
		}
	}
	if _, err := r.Open(token, "b"); err != nil { // the checker would accept a good one
		t.Errorf("the good token: %v", err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, both, renewed := ring(t, keyA), ring(t, keyB, keyA), ring(t, keyB)
	token := mustSeal(t, old, "Mei", "b")
	if _, err := renewed.Open(token, "b"); !errors.Is(err, collections.ErrUnsealed) {
		t.Errorf("open without the key: got %v, want ErrUnsealed", err)
	}
	if id, err := both.KeyID(token); err != nil || id != old.KeyIDs()[0] {
		t.Errorf("KeyID: got %s (%v), want %s", id, err, old.KeyIDs()[0])
	}
	again, changed, err := both.Reseal(token, "b")
	if err != nil || !changed {
		t.Fatalf("Reseal: changed %v, %v", changed, err)
	}
	if got, err := renewed.Open(again, "b"); err != nil || got != "Mei" {
		t.Errorf("open resealed: got %q (%v)", got, err)
	}
	if same, changed, err := both.Reseal(again, "b"); err != nil || changed || same != again {
		t.Errorf("second Reseal: changed %v (%v), want the same token", changed, err)
	}
	if _, _, err := both.Reseal(token, "other"); !errors.Is(err, collections.ErrUnsealed) {
		t.Errorf("Reseal elsewhere: got %v, want ErrUnsealed", err)
	}
	if _, err := renewed.KeyID(token); !errors.Is(err, collections.ErrUnsealed) {
		t.Errorf("KeyID without the key: got %v, want ErrUnsealed", err)
	}
}

func TestBlindIndex(t *testing.T) {
	t.Parallel()
	a, ba := ring(t, keyA), ring(t, keyB, keyA)
	digest := func(scope, plain string) string {
		d, err := a.BlindIndex(scope, plain)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := digest("users.phone", "+61400000001")
	if got := digest("users.phone", " +61 (400) 000-001 "); got != want || len(want) != 24 {
		t.Errorf("spelling matters: %q and %q", got, want)
	}
	if digest("users.phone", "+61400000002") == want || digest("buildings.contact_phone", "+61400000001") == want {
		t.Error("another value or scope has the same digest")
	}
	if digest("users.phone", " - ") != "" {
		t.Error("an empty value has a digest")
	}
	if got := ba.BlindIndexes("users.phone", "+61400000001"); len(got) != 2 || got[1] != want {
		t.Errorf("BlindIndexes: got %v, want two with %s last", got, want)
	}
}

func TestParseRefusesAndNeverRepeatsKeys(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]string{
		"empty":             "",
		"blank":             " ",
		"empty item":        keyA + ",,",
		"short":             base64.URLEncoding.EncodeToString([]byte("0123456789abcdef")),
		"standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(keyA),
		"no padding":        strings.TrimRight(keyA, "="),
		"unused bits":       keyA[:42] + "5=",
		"hexadecimal":       strings.Repeat("0a", 32),
		"line break":        keyA[:10] + "\n" + keyA[10:],
		"twice":             keyA + "," + keyB + "," + keyA,
		"all zero":          base64.URLEncoding.EncodeToString(make([]byte, 32)),
		"too many":          strings.Repeat(keyA+",", keysMax) + keyB,
	} {
		r, err := Parse(keys)
		if err == nil || r != nil {
			t.Errorf("%s: parsed, want an error", name)
			continue
		}
		for _, text := range strings.Split(keys, ",") {
			if text = strings.TrimSpace(text); text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%s: the error repeats the key: %v", name, err)
			}
		}
	}
	if r, err := Parse(" " + keyA + " , " + keyB + "\n"); err != nil || len(r.KeyIDs()) != 2 {
		t.Errorf("two keys with spaces: %v", err)
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	r := ring(t, keyA)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("keys", "ring", r)
	slog.New(slog.NewTextHandler(&out, nil)).Info("keys", "ring", r)
	asJSON, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %s", r, r, r, r, asJSON)
	raw, _ := base64.URLEncoding.DecodeString(keyA)
	for _, secret := range []string{keyA, string(raw), fmt.Sprintf("%x", raw[:8]), fmt.Sprint(raw[:8])[1:20]} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("a printed keyring holds the key: %s", out.String())
		}
	}
	if !strings.Contains(out.String(), r.KeyIDs()[0]) {
		t.Errorf("a printed keyring lacks the key's id: %s", out.String())
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	a, b := Generate(), Generate()
	if a == b {
		t.Error("two generated keys are equal")
	}
	ring(t, a, b)
}

func TestKeyringWithoutKeysRefuses(t *testing.T) {
	t.Parallel()
	token := mustSeal(t, ring(t, keyA), "x", "b")
	for name, r := range map[string]*Keyring{"zero": {}, "nil": nil} {
		if _, err := r.Seal("x", "b"); !errors.Is(err, ErrNoKeys) {
			t.Errorf("%s: Seal: got %v, want ErrNoKeys", name, err)
		}
		if _, err := r.BlindIndex("s", "x"); !errors.Is(err, ErrNoKeys) {
			t.Errorf("%s: BlindIndex: got %v, want ErrNoKeys", name, err)
		}
		if _, err := r.Open(token, "b"); !errors.Is(err, collections.ErrUnsealed) {
			t.Errorf("%s: Open: got %v, want ErrUnsealed", name, err)
		}
		if _, err := r.KeyID(token); !errors.Is(err, collections.ErrUnsealed) {
			t.Errorf("%s: KeyID: got %v, want ErrUnsealed", name, err)
		}
		if _, _, err := r.Reseal(token, "b"); !errors.Is(err, collections.ErrUnsealed) {
			t.Errorf("%s: Reseal: got %v, want ErrUnsealed", name, err)
		}
		if ids := r.KeyIDs(); len(ids) != 0 || len(r.BlindIndexes("s", "x")) != 0 {
			t.Errorf("%s: got ids %v, want none", name, ids)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		slog.New(slog.DiscardHandler).Info("ring", "r", r)
	}
}

func FuzzOpen(f *testing.F) {
	r, err := Parse(keyA)
	if err != nil {
		f.Fatal(err)
	}
	// Fixed, because every worker process of the fuzzer runs this line.
	const token = "gAAAAABrBKSL8FBJaWN5lthviKIlJNosc_GLA2ZHXl4FYDpUlWYkugG-5E29sH-jefGm2frXa9-s59DgOWr1b1vM9tlgUchqqg=="
	f.Add(token)
	f.Add(token + "=")
	f.Add("gAAAAABdnQ1TUKh2OE_ggbyCIxfg")
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := r.Open(text, "b")
		if err != nil && !errors.Is(err, collections.ErrUnsealed) {
			t.Errorf("error %v does not wrap ErrUnsealed", err)
		}
		if err == nil && text != token {
			t.Errorf("a token nobody sealed opened to %q", plain)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	r, err := Parse(keyA)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		token, err := r.Seal("Mei Tanaka", "users.full_name.019a0000-0000-7000-8000-000000000001")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Open(token, "users.full_name.019a0000-0000-7000-8000-000000000001"); err != nil {
			b.Fatal(err)
		}
	}
}
