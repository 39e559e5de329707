package hooks

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// The vectors for JSON Web Signatures of Project Wycheproof (Apache License 2.0, beside them),
// as published in github.com/c2sp/wycheproof at 3fa63dd0344a. As a dependency they would be
// 100 MB and raise the version of Go that this module asks for.
//
//go:embed testdata/wycheproof/json_web_signature_test.json
var jwsVectors []byte

// jwsDisagreements are the vectors whose verdict is not ours, and why.
var jwsDisagreements = map[int]string{
	367: "byte for byte the token of 357, which is valid",
	370: "byte for byte the token of 357, which is valid",
	372: "a question mark in the header is not base64url (RFC 7515, section 2); a token has one spelling here",
	373: "a question mark in the payload is not base64url",
}

// verifies is what stands between a request and the claims of its token: our check of the form,
// and the signature as PocketBase checks it. The payloads of the vectors are no claims.
func verifies(token string, key []byte) bool {
	if token == "" || checkForm(token) != nil { // the empty text is a guest's
		return false
	}
	last := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[last+1:])
	return err == nil && jwt.SigningMethodHS256.Verify(token[:last], signature, key) == nil
}

func TestPublicSignatureVectors(t *testing.T) {
	t.Parallel()
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Private struct{ Alg, K string }
			Tests   []struct {
				TcID    int
				Comment string
				JWS     json.RawMessage
				Result  string
			}
		}
	}
	if err := json.Unmarshal(jwsVectors, &file); err != nil {
		t.Fatal(err)
	}
	seen, ours, agreed, foreign := 0, 0, 0, 0
	for _, group := range file.TestGroups {
		key, err := base64.RawURLEncoding.DecodeString(group.Private.K)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range group.Tests {
			seen++
			var token string
			if json.Unmarshal(v.JWS, &token) != nil {
				foreign++ // the JSON serialisation, which no header can carry
				continue
			}
			got := verifies(token, key)
			if group.Private.Alg != "HS256" {
				foreign++
				if got {
					t.Errorf("%d (%s): a token of %s passes", v.TcID, v.Comment, group.Private.Alg)
				}
				continue
			}
			ours++
			why, known := jwsDisagreements[v.TcID]
			switch same := got == (v.Result == "valid"); {
			case same && known:
				t.Errorf("%d (%s): agrees, but is listed: %s", v.TcID, v.Comment, why)
			case same:
				agreed++
			case !known:
				t.Errorf("%d (%s): passes: %v, want %s: %s", v.TcID, v.Comment, got, v.Result, token)
			}
		}
	}
	if seen != file.NumberOfTests || ours != 40 || agreed != ours-len(jwsDisagreements) {
		t.Errorf("got %d vectors, %d of HS256, %d agreed; want %d, 40 and %d", seen, ours, agreed, file.NumberOfTests, ours-len(jwsDisagreements))
	}
	t.Logf("%d vectors of HS256 agree, %d are listed, %d of other kinds are refused", agreed, len(jwsDisagreements), foreign)
}
