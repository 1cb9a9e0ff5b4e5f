package stargus

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Opening an envelope (docs/IDENTITIES.md, The format): a JWE whose content key is wrapped by what Argon2id makes of a secret.
// What asks for a cheaper derivation is refused, for a server that is no longer honest could get a proof by it that is cheap to
// guess by, and what asks for a dearer one, for it could exhaust the machine.

const (
	envelopeBytesMax  = 16 << 10
	kdfMemoryKiB      = 64 << 10
	kdfMemoryKiBMax   = 256 << 10
	kdfPasses         = 3
	kdfPassesMax      = 10
	kdfParallelismMax = 4
	saltBytes         = 16
	saltBytesMax      = 64
)

type derivation struct {
	Name        string `json:"name"`
	MemoryKiB   int    `json:"memoryKiB"`
	Passes      int    `json:"passes"`
	Parallelism int    `json:"parallelism"`
	Salt        string `json:"salt"`
}

// strictly reads JSON that must have no members but those of v.
func strictly(text []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return errors.New("the envelope, or how its keys are derived, isn't of the format that it should be")
	}
	return nil
}

func (d derivation) check() ([]byte, error) {
	salt, err := b64.DecodeString(d.Salt)
	if d.Name != "argon2id" || err != nil || len(salt) < saltBytes || len(salt) > saltBytesMax {
		return nil, errors.New("the envelope's keys are derived in a way that isn't known")
	}
	if d.MemoryKiB < kdfMemoryKiB || d.Passes < kdfPasses || d.Parallelism < 1 {
		return nil, fmt.Errorf("the envelope asks for a derivation that makes guessing cheap (%d KiB, %d passes): who guards it isn't to be trusted", d.MemoryKiB, d.Passes)
	}
	if d.MemoryKiB > kdfMemoryKiBMax || d.Passes > kdfPassesMax || d.Parallelism > kdfParallelismMax {
		return nil, fmt.Errorf("the envelope asks for a derivation that could exhaust this machine (%d KiB, %d passes)", d.MemoryKiB, d.Passes)
	}
	return salt, nil
}

// derive makes the key that opens, and the proof for who guards the envelope.
func (d derivation) derive(account, way, secret string) (opening []byte, proof string, err error) {
	salt, err := d.check()
	if err != nil {
		return nil, "", err
	}
	seed := argon2.IDKey(norm.NFKC.Bytes([]byte(secret)), salt, uint32(d.Passes), uint32(d.MemoryKiB), uint8(d.Parallelism), 64)
	part := func(use string) ([]byte, error) {
		return hkdf.Key(sha256.New, seed, nil, "stargus envelope "+use+" "+way+" "+account, 32)
	}
	if opening, err = part("open"); err != nil {
		return nil, "", err
	}
	proving, err := part("prove")
	return opening, b64.EncodeToString(proving), err
}

type envelope struct {
	Protected  string              `json:"protected"`
	IV         string              `json:"iv"`
	Ciphertext string              `json:"ciphertext"`
	Tag        string              `json:"tag"`
	Recipients []envelopeRecipient `json:"recipients"`
}

type envelopeRecipient struct {
	EncryptedKey string `json:"encrypted_key"`
	Header       struct {
		Alg string     `json:"alg"`
		Kid string     `json:"kid"`
		KDF derivation `json:"kdf"`
		IV  string     `json:"iv"`
		Tag string     `json:"tag"`
	} `json:"header"`
}

// parseEnvelope checks that it is one of the account, and answers the recipient of the way.
func parseEnvelope(text []byte, account, way string) (*envelope, *envelopeRecipient, error) {
	if len(text) > envelopeBytesMax {
		return nil, nil, errors.New("the envelope is too large")
	}
	var e envelope
	if err := strictly(text, &e); err != nil {
		return nil, nil, err
	}
	protected, err := b64.DecodeString(e.Protected)
	if err != nil {
		return nil, nil, errors.New("the envelope's head can't be read")
	}
	var head struct {
		Enc     string `json:"enc"`
		Typ     string `json:"typ"`
		Cty     string `json:"cty"`
		Account string `json:"account"`
	}
	if err := strictly(protected, &head); err != nil {
		return nil, nil, err
	}
	if head.Enc != "A256GCM" || head.Typ != "stargus-envelope+jwe" {
		return nil, nil, errors.New("this is no envelope of a key")
	}
	if head.Account != account {
		return nil, nil, errors.New("the envelope is of another account")
	}
	var found *envelopeRecipient
	for i := range e.Recipients {
		if r := &e.Recipients[i]; r.Header.Kid == way {
			if found != nil || r.Header.Alg != "A256GCMKW" {
				return nil, nil, errors.New("the envelope says in more than one way, or in one that isn't known, how it opens")
			}
			found = r
		}
	}
	if found == nil {
		return nil, nil, errors.New("the envelope can't be opened by a " + strings.ReplaceAll(way, "recovery", "recovery code"))
	}
	return &e, found, nil
}

// open answers what was sealed, the private JWK.
func (e *envelope) open(r *envelopeRecipient, opening []byte) ([]byte, error) {
	contentKey, err := decryptGCM(opening, r.Header.IV, r.EncryptedKey, r.Header.Tag, "")
	if err != nil {
		return nil, err
	}
	return decryptGCM(contentKey, e.IV, e.Ciphertext, e.Tag, e.Protected)
}

var errDoesNotOpen = errors.New("the envelope doesn't open: the secret is another one, or the envelope was altered")

func decryptGCM(key []byte, iv, ciphertext, tag, about string) ([]byte, error) {
	nonce, err1 := b64.DecodeString(iv)
	text, err2 := b64.DecodeString(ciphertext)
	seal, err3 := b64.DecodeString(tag)
	if err1 != nil || err2 != nil || err3 != nil || len(seal) != 16 || len(nonce) != 12 || len(key) != 32 {
		return nil, errDoesNotOpen
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, append(text, seal...), []byte(about))
	if err != nil {
		return nil, errDoesNotOpen
	}
	return plain, nil
}

// normalCode is a recovery code as it is derived from, however it was typed.
func normalCode(text string) string {
	var out strings.Builder
	for _, r := range strings.ToUpper(text) {
		switch r {
		case ' ', '\t', '\n', '\r', '-':
		case 'O':
			out.WriteByte('0')
		case 'I', 'L':
			out.WriteByte('1')
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
