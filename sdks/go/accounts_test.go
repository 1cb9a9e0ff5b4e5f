package stargus_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var b64 = base64.RawURLEncoding

// newAccount makes an account of the server, and its key file.
func newAccount(t *testing.T, url string) (account, kid, file string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	account = fmt.Sprintf("%s/id/go%d", url, time.Now().UnixNano())
	jwk := m{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(public), "d": b64.EncodeToString(private.Seed())}
	text, _ := json.Marshal(m{"account": account, "jwk": jwk})
	file = filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":%q}`, b64.EncodeToString(public)))
	return account, b64.EncodeToString(digest[:]), file
}

func publicOf(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ JWK m }
	if err := json.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	delete(content.JWK, "d")
	public, _ := json.Marshal(content.JWK)
	return public
}

func nameOf(account string) string {
	_, name, _ := strings.Cut(account, "/id/")
	return name
}

func jsonReader(body []byte) io.Reader { return bytes.NewReader(body) }
