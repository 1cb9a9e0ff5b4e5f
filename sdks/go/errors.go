package stargus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Codes of the library's own errors, see docs/CLIENTS.md. Codes of the server are in docs/ERRORS.md.
const (
	CodeUnreachable        = "unreachable"
	CodeTimeout            = "timeout"
	CodeNotStargus         = "notStargus"
	CodeIncompatibleServer = "incompatibleServer"
	CodeProtocolError      = "protocolError"
	CodeEventTooLarge      = "eventTooLarge"
	CodeLoginFailed        = "loginFailed"
	CodeCacheInUse         = "cacheInUse"
	CodeCacheFailed        = "cacheFailed"
	CodeSignatureInvalid   = "signatureInvalid"
	CodeClosed             = "closed"
	CodeLockLost           = "lockLost"
)

// Error is an error that the library raises of itself. errors.Is compares its code with the sentinels, and errors.Unwrap leads
// to what caused it.
type Error struct {
	// Code is for programs.
	Code string
	// Detail is for people, and names what to do. It has no token, passphrase or key in it.
	Detail string
	cause  error
	// pause is how long whoever answered asks to be left alone, and isTemporary that a stream should come back.
	pause       time.Duration
	isTemporary bool
}

// NewError makes an error of the given code; for packages that belong to the library, such as caches.
func NewError(code, detail string, cause error) *Error {
	return &Error{Code: code, Detail: detail, cause: cause}
}

func (e *Error) Error() string {
	switch {
	case e.Detail == "" && e.cause == nil:
		return "stargus: " + e.Code
	case e.Detail == "":
		return fmt.Sprintf("stargus: %s: %v", e.Code, e.cause)
	case e.cause == nil:
		return fmt.Sprintf("stargus: %s: %s", e.Code, e.Detail)
	}
	return fmt.Sprintf("stargus: %s: %s (%v)", e.Code, e.Detail, e.cause)
}

// Unwrap answers the cause, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an error of the library or the server with the same code.
func (e *Error) Is(target error) bool { return sameCode(e.Code, target) }

// Place is one fault in a request.
type Place struct {
	// Pointer is a JSON Pointer into the body, or ?name for a parameter.
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	// Index is that of the operation of a batch.
	Index *int `json:"index,omitempty"`
}

// Problem is a refusal of the server (RFC 9457).
type Problem struct {
	// Code is for programs: see docs/ERRORS.md.
	Code   string
	Status int
	// Detail is for people.
	Detail string
	// Retryable says whether the same request may succeed later.
	Retryable bool
	// RequestID names the request in the server's log.
	RequestID string
	// Errors are the places at fault.
	Errors []Place
	// Members has all members of the answer, such as holders, oldest or currentRevision.
	Members map[string]any
	pause   time.Duration
}

func (p *Problem) Error() string {
	text := fmt.Sprintf("stargus: %s (%d)", p.Code, p.Status)
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	if p.RequestID != "" {
		text += " [" + p.RequestID + "]"
	}
	return text
}

// Is reports whether target is an error of the library or the server with the same code.
func (p *Problem) Is(target error) bool { return sameCode(p.Code, target) }

func sameCode(code string, target error) bool {
	switch other := target.(type) {
	case *Error:
		return other.Code == code
	case *Problem:
		return other.Code == code
	}
	return false
}

// What errors.Is can be asked for; whether the server said so or the library makes no difference.
var (
	ErrUnreachable        error = &Error{Code: CodeUnreachable}
	ErrTimeout            error = &Error{Code: CodeTimeout}
	ErrNotStargus         error = &Error{Code: CodeNotStargus}
	ErrIncompatibleServer error = &Error{Code: CodeIncompatibleServer}
	ErrProtocol           error = &Error{Code: CodeProtocolError}
	ErrEventTooLarge      error = &Error{Code: CodeEventTooLarge}
	ErrLoginFailed        error = &Error{Code: CodeLoginFailed}
	ErrCacheInUse         error = &Error{Code: CodeCacheInUse}
	ErrCacheFailed        error = &Error{Code: CodeCacheFailed}
	ErrSignatureInvalid   error = &Error{Code: CodeSignatureInvalid}
	ErrClosed             error = &Error{Code: CodeClosed}
	ErrLockLost           error = &Error{Code: CodeLockLost}

	ErrBadRequest         error = &Error{Code: "badRequest"}
	ErrUnauthenticated    error = &Error{Code: "unauthenticated"}
	ErrForbidden          error = &Error{Code: "forbidden"}
	ErrNotFound           error = &Error{Code: "notFound"}
	ErrConflict           error = &Error{Code: "conflict"}
	ErrLockConflict       error = &Error{Code: "lockConflict"}
	ErrDeadlock           error = &Error{Code: "deadlock"}
	ErrSessionFenced      error = &Error{Code: "sessionFenced"}
	ErrCursorExpired      error = &Error{Code: "cursorExpired"}
	ErrPreconditionFailed error = &Error{Code: "preconditionFailed"}
	ErrSchemaViolation    error = &Error{Code: "schemaViolation"}
	ErrLocked             error = &Error{Code: "locked"}
	ErrTooLarge           error = &Error{Code: "tooLarge"}
	ErrTooManyRequests    error = &Error{Code: "tooManyRequests"}
	ErrUnavailable        error = &Error{Code: "unavailable"}
)

// CodeOf answers the code of an error of the library or the server, "" of any other and of nil.
func CodeOf(err error) string {
	var problem *Problem
	var own *Error
	// The outer one counts: an error of the library may have a problem for its cause.
	for ; err != nil; err = errors.Unwrap(err) {
		if asHere(err, &own) {
			return own.Code
		}
		if p, ok := err.(*Problem); ok {
			problem = p
			return problem.Code
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range joined.Unwrap() {
				if code := CodeOf(one); code != "" {
					return code
				}
			}
			return ""
		}
	}
	return ""
}

func asHere(err error, own **Error) bool {
	e, ok := err.(*Error)
	*own = e
	return ok
}

// parseProblem answers nil where the body is no problem of this API.
func parseProblem(status int, body []byte) *Problem {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return nil
	}
	var told struct {
		Code      string  `json:"code"`
		Status    int     `json:"status"`
		Title     string  `json:"title"`
		Detail    string  `json:"detail"`
		Retryable bool    `json:"retryable"`
		RequestID string  `json:"requestId"`
		Errors    []Place `json:"errors"`
	}
	if json.Unmarshal(body, &told) != nil || told.Code == "" {
		return nil
	}
	if status == 0 {
		status = told.Status
	}
	if told.Detail == "" {
		told.Detail = told.Title
	}
	return &Problem{
		Code: told.Code, Status: status, Detail: told.Detail, Retryable: told.Retryable,
		RequestID: told.RequestID, Errors: told.Errors, Members: members,
	}
}

// ofContext tells the end of a context in the library's words: a deadline is a timeout, and also context.DeadlineExceeded.
func ofContext(ctx context.Context) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: CodeTimeout, Detail: "the time that the caller gave is over", cause: err}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func closedError(what string) *Error {
	return &Error{Code: CodeClosed, Detail: "the " + what + " is closed"}
}

// isTemporaryStatus says whether a refusal without a problem may come from what stands before a server that is restarting.
func isTemporaryStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
