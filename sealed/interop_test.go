package sealed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"firemode/collections"
)

// ask is one request to the other implementation, reply its answer.
type ask struct {
	Do   string   `json:"do"` // seal, open or rotate
	Keys []string `json:"keys"`
	Text string   `json:"text"`
	At   int64    `json:"at,omitempty"` // Unix seconds of sealing; 0 is now
}

type reply struct {
	Text    string
	Refused bool
}

// python asks the Fernet of the Python package "cryptography", which shares no code with
// fernet-go. A python3 of its own that comes first in PATH may lack the package that the
// system's has.
func python(t *testing.T, asks ...ask) []reply {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, a := range asks {
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(raw, '\n'))
	}
	command := "python3"
	if exec.Command(command, "-c", "import cryptography").Run() != nil {
		command = "/usr/bin/python3"
	}
	cmd := exec.Command(command, "testdata/interop.py")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (install python3-cryptography)\n%s", command, err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(asks) {
		t.Fatalf("got %d answers to %d requests", len(lines), len(asks))
	}
	replies := make([]reply, len(asks))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &replies[i]); err != nil {
			t.Fatal(err)
		}
	}
	return replies
}

const interopBinding = "users.full_name.019a0000-0000-7000-8000-000000000001"

// interopTexts fill blocks to the brim, by one less and by one more, and hold what JSON and
// base64 may stumble over.
func interopTexts() []string {
	texts := []string{"", "Mei Tanaka", "Zoë \U0001F9EF", "a\x00b", "\"\\\n\u2028", strings.Repeat("x", 10_000)}
	for n := range 2 * blockBytes {
		texts = append(texts, strings.Repeat("y", n))
	}
	return texts
}

func TestAnotherImplementationOpensOurTokens(t *testing.T) {
	t.Parallel()
	a, b := ring(t, keyA), ring(t, keyB)
	var asks []ask
	for _, text := range interopTexts() {
		asks = append(asks, ask{Do: "open", Keys: []string{keyB, keyA}, Text: mustSeal(t, a, text, interopBinding)},
			ask{Do: "open", Keys: []string{keyA}, Text: mustSeal(t, b, text, interopBinding)}) // the wrong key
	}
	replies := python(t, asks...)
	for i, text := range interopTexts() {
		if got := replies[2*i]; got.Refused || got.Text != interopBinding+separator+text {
			t.Errorf("ours of %.20q: got %.80q, refused %v", text, got.Text, got.Refused)
		}
		if !replies[2*i+1].Refused {
			t.Errorf("ours of %.20q opens there with another key", text)
		}
	}
}

func TestWeOpenTokensOfAnotherImplementation(t *testing.T) {
	t.Parallel()
	a, b := ring(t, keyA), ring(t, keyB)
	var asks []ask
	// A clock that was ten years ahead or at the epoch when a value was sealed loses nothing.
	times := []int64{0, 1, time.Now().AddDate(10, 0, 0).Unix()}
	for i, text := range interopTexts() {
		asks = append(asks, ask{Do: "seal", Keys: []string{keyA}, Text: interopBinding + separator + text, At: times[i%len(times)]})
	}
	for i, sealed := range python(t, asks...) {
		want := interopTexts()[i]
		if got, err := a.Open(sealed.Text, interopBinding); err != nil || got != want {
			t.Errorf("theirs of %.20q: got %.20q, %v", want, got, err)
		}
		if got, err := b.Open(sealed.Text, interopBinding); !errors.Is(err, collections.ErrUnsealed) || got != "" {
			t.Errorf("theirs of %.20q with another key: got %.20q, %v", want, got, err)
		}
		if got, err := a.Open(sealed.Text, interopBinding+"1"); !errors.Is(err, collections.ErrUnsealed) || got != "" {
			t.Errorf("theirs of %.20q elsewhere: got %.20q, %v", want, got, err)
		}
	}
}

// A rotation that either side makes opens on the other with the new key alone.
func TestRotationsOfBothImplementations(t *testing.T) {
	t.Parallel()
	old, both, renewed := ring(t, keyA), ring(t, keyB, keyA), ring(t, keyB)
	token := mustSeal(t, old, "Mei Tanaka", interopBinding)
	ours, changed, err := both.Reseal(token, interopBinding)
	if err != nil || !changed {
		t.Fatalf("Reseal: changed %v, %v", changed, err)
	}
	replies := python(t, ask{Do: "rotate", Keys: []string{keyB, keyA}, Text: token}, ask{Do: "open", Keys: []string{keyB}, Text: ours})
	if got, err := renewed.Open(replies[0].Text, interopBinding); err != nil || got != "Mei Tanaka" {
		t.Errorf("rotated there: got %q, %v", got, err)
	}
	if got := replies[1].Text; got != interopBinding+separator+"Mei Tanaka" {
		t.Errorf("rotated here: got %q there", got)
	}
}

// Whatever is done to a token, we refuse it, and so what the other implementation refuses. It
// takes some with junk behind them; we take none.
func TestNothingOpensHereThatIsRefusedElsewhere(t *testing.T) {
	t.Parallel()
	a := ring(t, keyA)
	token := mustSeal(t, a, "Mei", interopBinding)
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{token + "%%%", token + "AAAA", token + "\n", token + token, token + "=", " " + token, "\ufeff" + token}
	for bit := range 8 * len(raw) {
		flipped := bytes.Clone(raw)
		flipped[bit/8] ^= 1 << (bit % 8)
		bad = append(bad, base64.URLEncoding.EncodeToString(flipped))
	}
	for n := range raw { // cut anywhere, and extended by as much
		bad = append(bad, base64.URLEncoding.EncodeToString(raw[:n]), base64.URLEncoding.EncodeToString(append(bytes.Clone(raw), raw[:n+1]...)))
	}
	asks := []ask{{Do: "open", Keys: []string{keyA}, Text: token}}
	for _, text := range bad {
		asks = append(asks, ask{Do: "open", Keys: []string{keyA}, Text: text})
	}
	replies := python(t, asks...)
	if _, err := a.Open(token, interopBinding); err != nil || replies[0].Refused {
		t.Fatalf("the untouched token: %v here, refused there: %v", err, replies[0].Refused) // the control of the rest
	}
	taken := 0
	for i, text := range bad {
		if got, err := a.Open(text, interopBinding); !errors.Is(err, collections.ErrUnsealed) || got != "" {
			t.Errorf("%.40q…: opens to %q", text, got)
		}
		if !replies[i+1].Refused {
			taken++
		}
	}
	t.Logf("%d changed tokens, all refused here; %d opened there", len(bad), taken)
}
