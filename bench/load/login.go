// An account that logs in: a challenge, an assertion that its key signs, and tokens that are refreshed.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

type accountOptions struct{ keyFile, url, kid string }

type account struct {
	accountOptions
	conn         *connection
	host         string
	algorithm    string
	sign         func(text []byte) ([]byte, error)
	refreshToken string
}

func (w *writers) runLogin(do func(a *account) error) {
	defer w.group.Done()
	a, err := openAccount(w.o)
	if err != nil {
		w.fail(err)
		return
	}
	defer a.conn.close()
	w.repeat(func() error { return do(a) })
}

func openAccount(o options) (*account, error) {
	a := &account{accountOptions: o.account, conn: &connection{address: o.address, until: deadlineOf(o)}, host: o.address}
	text, err := os.ReadFile(a.keyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in PEM", a.keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return a, a.signWith(key)
}

func (a *account) signWith(key any) error {
	switch key := key.(type) {
	case ed25519.PrivateKey:
		a.algorithm = "EdDSA"
		a.sign = func(text []byte) ([]byte, error) { return ed25519.Sign(key, text), nil }
	case *ecdsa.PrivateKey:
		a.algorithm = "ES256"
		a.sign = func(text []byte) ([]byte, error) {
			digest := sha256.Sum256(text)
			r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature, nil
		}
	case *rsa.PrivateKey:
		a.algorithm = "PS256"
		a.sign = func(text []byte) ([]byte, error) {
			digest := sha256.Sum256(text)
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], options)
		}
	default:
		return fmt.Errorf("%s: a key of another kind", a.keyFile)
	}
	return nil
}

func (a *account) login() error {
	answer, err := a.ask("/v1/auth/challenges", []byte("{}"))
	if err != nil {
		return err
	}
	assertion, err := a.assertion(textBetween(answer, `"audience":"`, `"`), textBetween(answer, `"nonce":"`, `"`))
	if err != nil {
		return err
	}
	return a.token(fmt.Appendf(nil, `{"grantType":"urn:ietf:params:oauth:grant-type:jwt-bearer","assertion":"%s"}`, assertion))
}

// refresh logs in the first time.
func (a *account) refresh() error {
	if a.refreshToken == "" {
		return a.login()
	}
	return a.token(fmt.Appendf(nil, `{"grantType":"refresh_token","refreshToken":"%s"}`, a.refreshToken))
}

func (a *account) token(body []byte) error {
	answer, err := a.ask("/v1/auth/token", body)
	a.refreshToken = textBetween(answer, `"refreshToken":"`, `"`)
	if err == nil && a.refreshToken == "" {
		err = fmt.Errorf("no refresh token in %.300q", answer)
	}
	return err
}

func (a *account) assertion(audience, nonce string) (string, error) {
	now := time.Now().Unix()
	header := fmt.Appendf(nil, `{"typ":"stargus-login+jwt","alg":"%s","kid":"%s"}`, a.algorithm, a.kid)
	claims := fmt.Appendf(nil, `{"iss":"%s","sub":"%s","aud":"%s","nonce":"%s","jti":"%s","iat":%d,"exp":%d}`,
		a.url, a.url, audience, nonce, nonce, now, now+30)
	base64url := base64.RawURLEncoding
	text := base64url.EncodeToString(header) + "." + base64url.EncodeToString(claims)
	signature, err := a.sign([]byte(text))
	return text + "." + base64url.EncodeToString(signature), err
}

func (a *account) ask(path string, body []byte) (string, error) {
	return a.conn.ask(appendRequest(nil, "POST", path, a.host, body))
}
