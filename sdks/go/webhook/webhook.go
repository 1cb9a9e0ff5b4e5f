// Package webhook verifies what a notifier sent (docs/NOTIFIERS.md; Standard Webhooks 1.0).
package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	stargus "github.com/stargus/stargus/sdks/go"
)

// tolerance is how far off the time of an event may be, so that one that somebody recorded can't be sent again later.
const tolerance = 5 * time.Minute

// Event is a CloudEvent 1.0.
type Event struct {
	ID     string    `json:"id"`
	Source string    `json:"source"`
	Type   string    `json:"type"`
	Time   time.Time `json:"time"`
	// Data is a commit for the type stargus.change; see docs/NOTIFIERS.md for others.
	Data json.RawMessage `json:"data"`
}

// Commit reads Data of an event that tells a commit.
func (e *Event) Commit() (stargus.Commit, error) {
	var commit stargus.Commit
	err := json.Unmarshal(e.Data, &commit)
	return commit, err
}

// Verify checks that body, the bytes as they came, was signed by the secret (whsec_…), or by the private half of a public key
// (whpk_…), and isn't older or newer than five minutes. It takes the time that it needs whether or not it is right.
//
// Errors: ErrSignatureInvalid, which says what is wrong.
func Verify(secret string, header http.Header, body []byte) (*Event, error) {
	return VerifyAt(secret, header, body, time.Now())
}

// VerifyAt is Verify at another time than now.
func VerifyAt(secret string, header http.Header, body []byte, now time.Time) (*Event, error) {
	id, at, signatures := header.Get("webhook-id"), header.Get("webhook-timestamp"), header.Get("webhook-signature")
	if id == "" || at == "" || signatures == "" {
		return nil, invalid("webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return nil, invalid("webhook-timestamp isn't a time in seconds since 1970")
	}
	message := append([]byte(id+"."+at+"."), body...)
	matches, err := verifier(secret)
	if err != nil {
		return nil, err
	}
	isRight := false
	for _, one := range strings.Fields(signatures) {
		version, text, _ := strings.Cut(one, ",")
		signature, err := base64.StdEncoding.DecodeString(text)
		if err == nil && matches(version, message, signature) {
			isRight = true
		}
	}
	if !isRight {
		return nil, invalid("no signature is by this secret: it is another one, or the body isn't as it was sent")
	}
	// Only now, so that nobody learns of the clock without a secret.
	if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return nil, invalid("webhook-timestamp is more than five minutes off: the event is old, or a clock is wrong")
	}
	var event Event
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, stargus.NewError(stargus.CodeProtocolError, "the body is signed and isn't a CloudEvent", err)
	}
	if event.ID == "" {
		event.ID = id
	}
	return &event, nil
}

func verifier(secret string) (func(version string, message, signature []byte) bool, error) {
	if text, ok := strings.CutPrefix(secret, "whpk_"); ok {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, invalid("the public key isn't whpk_ and base64")
		}
		return func(version string, message, signature []byte) bool {
			return version == "v1a" && len(signature) == ed25519.SignatureSize && ed25519.Verify(key, message, signature)
		}, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, invalid("the secret isn't whsec_ and base64")
	}
	return func(version string, message, signature []byte) bool {
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		return version == "v1" && hmac.Equal(mac.Sum(nil), signature)
	}, nil
}

func invalid(detail string) error {
	return stargus.NewError(stargus.CodeSignatureInvalid, detail, nil)
}
