package sealed

import (
	"crypto/rand"
	"embed"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/fernet/fernet-go"
)

// The vectors of https://github.com/fernet/spec: one to generate, one to
// verify, eight to refuse.
//
//go:embed testdata/generate.json testdata/verify.json testdata/invalid.json
var vectorFiles embed.FS

type vector struct {
	Desc   string    `json:"desc"`
	Token  string    `json:"token"`
	Now    time.Time `json:"now"`
	IV     []int     `json:"iv"`
	TTL    int       `json:"ttl_sec"`
	Src    string    `json:"src"`
	Secret string    `json:"secret"`
}

func vectors(t *testing.T, name string, count int) []vector {
	t.Helper()
	raw, err := vectorFiles.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != count {
		t.Fatalf("%s: got %d vectors, want %d", name, len(out), count)
	}
	return out
}

func (v vector) key(t *testing.T) *fernet.Key {
	t.Helper()
	key, err := parseKey(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open is the path of a stored value, with the vector's own clock.
func (v vector) open(t *testing.T) (string, error) {
	t.Helper()
	if err := checkForm(v.Token); err != nil {
		return "", err
	}
	message, err := openMessage(v.Token, v.key(t), time.Duration(v.TTL)*time.Second, v.Now)
	return string(message), err
}

// fixedBytes is a source of randomness that returns the IV of a vector.
type fixedBytes []int

func (f *fixedBytes) Read(p []byte) (int, error) {
	if len(*f) < len(p) {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range p {
		p[i] = byte((*f)[i])
	}
	*f = (*f)[len(p):]
	return len(p), nil
}

// Not parallel: the library takes its IV from the process-wide rand.Reader.
func TestSpecGenerate(t *testing.T) {
	for _, v := range vectors(t, "generate.json", 1) {
		source := fixedBytes(v.IV)
		random := rand.Reader
		rand.Reader = &source
		token, err := fernet.EncryptAndSignAtTime([]byte(v.Src), v.key(t), v.Now)
		rand.Reader = random
		if err != nil || string(token) != v.Token {
			t.Errorf("generate %q: got %s (%v), want %s", v.Src, token, err, v.Token)
		}
	}
}

func TestSpecVerify(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "verify.json", 1) {
		if got, err := v.open(t); err != nil || got != v.Src {
			t.Errorf("verify: got %q (%v), want %q", got, err, v.Src)
		}
	}
}

func TestSpecInvalid(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "invalid.json", 8) {
		if got, err := v.open(t); err == nil {
			t.Errorf("%s: opened to %q, want it refused", v.Desc, got)
		}
	}
}
