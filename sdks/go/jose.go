package stargus

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
)

// Keys of accounts, and what is signed by them: compact JWS (RFC 7515) by Ed25519, P-256 and RSA, as docs/IDENTITIES.md has them.

var b64 = base64.RawURLEncoding.Strict()

// signingKey is a private key with the public half as it is told.
type signingKey struct {
	algorithm  string
	thumbprint string
	public     map[string]string
	sign       func(message []byte) ([]byte, error)
}

// privateJWK is what is read of a private key.
type privateJWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	D   string `json:"d"`
	N   string `json:"n"`
	E   string `json:"e"`
	P   string `json:"p"`
	Q   string `json:"q"`
}

var errNoKey = errors.New("the key is no private key of a kind that is taken: Ed25519, P-256, or RSA of 2048 to 4096 bits, as a JWK")

func parseSigningKey(text []byte) (*signingKey, error) {
	var jwk privateJWK
	if json.Unmarshal(text, &jwk) != nil {
		return nil, errNoKey
	}
	switch {
	case jwk.Kty == "OKP" && jwk.Crv == "Ed25519":
		return ed25519Key(jwk)
	case jwk.Kty == "EC" && jwk.Crv == "P-256":
		return p256Key(jwk)
	case jwk.Kty == "RSA":
		return rsaKey(jwk)
	}
	return nil, errNoKey
}

func ed25519Key(jwk privateJWK) (*signingKey, error) {
	seed, err := b64.DecodeString(jwk.D)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, errNoKey
	}
	private := ed25519.NewKeyFromSeed(seed)
	if b64.EncodeToString(private.Public().(ed25519.PublicKey)) != jwk.X {
		return nil, errNoKey
	}
	public := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": jwk.X}
	return newSigningKey("EdDSA", public, func(message []byte) ([]byte, error) {
		return ed25519.Sign(private, message), nil
	}), nil
}

func p256Key(jwk privateJWK) (*signingKey, error) {
	x, y, d, err := number3(jwk.X, jwk.Y, jwk.D)
	if err != nil {
		return nil, errNoKey
	}
	private := &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}, D: d}
	// ECDH refuses points that aren't on the curve and scalars out of range.
	exchange, err := private.ECDH()
	if err != nil {
		return nil, errNoKey
	}
	public, err := private.PublicKey.ECDH()
	if err != nil || !exchange.PublicKey().Equal(public) {
		return nil, errNoKey
	}
	return ecdsaKey(private), nil
}

func ecdsaKey(private *ecdsa.PrivateKey) *signingKey {
	public := map[string]string{
		"kty": "EC", "crv": "P-256",
		"x": b64.EncodeToString(private.X.FillBytes(make([]byte, 32))), "y": b64.EncodeToString(private.Y.FillBytes(make([]byte, 32))),
	}
	return newSigningKey("ES256", public, func(message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	})
}

func rsaKey(jwk privateJWK) (*signingKey, error) {
	n, e, d, err := number3(jwk.N, jwk.E, jwk.D)
	if err != nil || e.BitLen() > 31 {
		return nil, errNoKey
	}
	private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e.Int64())}, D: d}
	p, q, _, err := number3(jwk.P, jwk.Q, jwk.D)
	if err != nil {
		return nil, errNoKey
	}
	private.Primes = []*big.Int{p, q}
	if n.BitLen() < 2048 || n.BitLen() > 4096 || private.Validate() != nil {
		return nil, errNoKey
	}
	private.Precompute()
	public := map[string]string{"kty": "RSA", "n": jwk.N, "e": jwk.E}
	return newSigningKey("PS256", public, func(message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}), nil
}

func number3(a, b, c string) (x, y, z *big.Int, err error) {
	numbers := [3]*big.Int{}
	for i, text := range [3]string{a, b, c} {
		bytes, err := b64.DecodeString(text)
		if err != nil || len(bytes) == 0 {
			return nil, nil, nil, errNoKey
		}
		numbers[i] = new(big.Int).SetBytes(bytes)
	}
	return numbers[0], numbers[1], numbers[2], nil
}

// newSigningKey names the key by its RFC 7638 thumbprint: of the public members, which encoding/json writes sorted.
func newSigningKey(algorithm string, public map[string]string, sign func([]byte) ([]byte, error)) *signingKey {
	text, _ := json.Marshal(public)
	digest := sha256.Sum256(text)
	return &signingKey{algorithm, b64.EncodeToString(digest[:]), public, sign}
}

func newOneTimeKey() (*signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return ecdsaKey(private), nil
}

// jws is the compact form.
func (k *signingKey) jws(header, claims map[string]any) (string, error) {
	head, err := encode(header)
	if err != nil {
		return "", err
	}
	body, err := encode(claims)
	if err != nil {
		return "", err
	}
	text := b64.EncodeToString(head) + "." + b64.EncodeToString(body)
	signature, err := k.sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + b64.EncodeToString(signature), nil
}
