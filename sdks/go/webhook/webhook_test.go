package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

func TestVerify(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	public, private, _ := ed25519.GenerateKey(nil)
	body := []byte(`{"specversion":"1.0","id":"n-17","type":"stargus.change","data":{"revision":17,"cursor":"e-17","changes":[{"op":"add","key":"k"}]}}`)
	now := time.Unix(1_700_000_000, 0)
	message := fmt.Appendf(nil, "n-17.%d.%s", now.Unix(), body)
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	v1 := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	v1a := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, message))
	header := func(signatures string) http.Header {
		h := http.Header{}
		h.Set("Webhook-Id", "n-17")
		h.Set("Webhook-Timestamp", fmt.Sprint(now.Unix()))
		h.Set("Webhook-Signature", signatures)
		return h
	}
	for _, one := range []string{secret, "whpk_" + base64.StdEncoding.EncodeToString(public)} {
		event, err := VerifyAt(one, header("v9,x v1,AAAA "+v1+" "+v1a), body, now.Add(4*time.Minute))
		if err != nil || event.ID != "n-17" {
			t.Fatal(event, err)
		}
		commit, err := event.Commit()
		if err != nil || commit.Revision != 17 || commit.Changes[0].Key != "k" {
			t.Fatal(commit, err)
		}
	}
	for name, refused := range map[string]func() error{
		"another secret":   func() error { _, err := VerifyAt("whsec_AAAA", header(v1), body, now); return err },
		"no secret":        func() error { _, err := VerifyAt("", header(v1), body, now); return err },
		"another body":     func() error { _, err := VerifyAt(secret, header(v1), append(body, ' '), now); return err },
		"no signature":     func() error { _, err := VerifyAt(secret, header(""), body, now); return err },
		"another version":  func() error { _, err := VerifyAt(secret, header("v2"+v1[2:]), body, now); return err },
		"v1a for a secret": func() error { _, err := VerifyAt(secret, header(v1a), body, now); return err },
		"too old":          func() error { _, err := VerifyAt(secret, header(v1), body, now.Add(6*time.Minute)); return err },
		"too new":          func() error { _, err := VerifyAt(secret, header(v1), body, now.Add(-6*time.Minute)); return err },
	} {
		if err := refused(); !errors.Is(err, stargus.ErrSignatureInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
