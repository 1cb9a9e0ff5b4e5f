package stargus

import (
	"net/http"
	"strings"
)

// requestKind says how the pipeline treats a request. It follows from method and path, so that calls of the generated layer,
// which know nothing of it, are treated as ours.
type requestKind struct {
	// takesKey: the request is a write that gets an Idempotency-Key.
	takesKey bool
	// once: it must not be repeated once it may have arrived.
	once bool
	// isPublic: it is sent without credentials, for it is how they are got.
	isPublic bool
}

// kindOf is asked for each request; path is below the client's base.
func kindOf(method, path string) requestKind {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "QUERY":
		return requestKind{isPublic: path == "/v1/auth/challenges"}
	}
	switch {
	case path == "/v1/auth/token", path == "/v1/auth/challenges":
		// A refresh token is good for once: a repetition whose first answer was lost would end the whole login.
		return requestKind{once: path == "/v1/auth/token", isPublic: true}
	case method == http.MethodPost && (path == "/v1/auth/keys" || path == "/v1/pins"):
		return requestKind{once: true}
	case strings.HasPrefix(path, "/v1/auth/"), strings.HasPrefix(path, "/v1/identities/"):
		return requestKind{isPublic: strings.HasSuffix(path, "/envelope/unlock")}
	}
	if method == http.MethodPost && !strings.Contains(path, "/items/") {
		switch end := path[strings.LastIndexByte(path, '/')+1:]; end {
		case "query", "check", "explain", "preview", "renew", "resume":
			return requestKind{}
		case "import", "redeliver", "rotateSecret", "test":
			return requestKind{once: true}
		}
	}
	return requestKind{takesKey: true}
}
