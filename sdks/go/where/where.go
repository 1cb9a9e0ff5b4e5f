// Package where makes filters, the one language by which queries, mirrors, feeds, notifiers and conditions select items, and
// judges them here as the server does there.
//
//	where.Field("status").Eq("open").And(where.Field("priority").Gte(3))
//
// Names that would be taken for operators or pointers are quoted. A Filter is its JSON, and goes wherever a filter is wanted.
package where

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Filter says what an item must be. The zero value matches everything.
type Filter struct{ members map[string]any }

// MarshalJSON writes the filter as the API has it.
func (f Filter) MarshalJSON() ([]byte, error) {
	if f.members == nil {
		return []byte("{}"), nil
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(f.members); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte{'\n'}), nil
}

// String is the filter as JSON.
func (f Filter) String() string {
	text, err := f.MarshalJSON()
	if err != nil {
		return "{}"
	}
	return string(text)
}

// Name is what a test is about: an attribute, a place within one, the key or the revision.
type Name struct{ text string }

// Field is the attribute of this name, whatever characters it has.
func Field(name string) Name {
	if name == "and" || name == "or" || name == "not" || strings.HasPrefix(name, "/") {
		return Path(name)
	}
	return Name{name}
}

// Path leads into an attribute: Path("address", "city"). Elements of arrays are named by their number.
func Path(tokens ...string) Name {
	var text strings.Builder
	for i, token := range tokens {
		text.WriteByte('/')
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
		if i == 0 && len(tokens) == 1 && (token == "@key" || token == "@revision") {
			// The attribute that is called so can't be named as a pointer; as a plain name it can.
			return Name{token}
		}
		text.WriteString(token)
	}
	return Name{text.String()}
}

// Key is the item's key.
func Key() Name { return Name{"/@key"} }

// Revision is the item's revision.
func Revision() Name { return Name{"/@revision"} }

func (n Name) test(operator string, operand any) Filter {
	return Filter{map[string]any{n.text: map[string]any{operator: operand}}}
}

// Eq holds for a value that equals this one.
func (n Name) Eq(value any) Filter { return n.test("eq", value) }

// Ne holds for a value that is there and doesn't equal this one.
func (n Name) Ne(value any) Filter { return n.test("ne", value) }

// Lt holds for a value of the same type that comes before this one.
func (n Name) Lt(value any) Filter { return n.test("lt", value) }

// Lte holds for a value of the same type that comes before this one or equals it.
func (n Name) Lte(value any) Filter { return n.test("lte", value) }

// Gt holds for a value of the same type that comes after this one.
func (n Name) Gt(value any) Filter { return n.test("gt", value) }

// Gte holds for a value of the same type that comes after this one or equals it.
func (n Name) Gte(value any) Filter { return n.test("gte", value) }

// In holds for a value that equals one of these.
func (n Name) In(values ...any) Filter { return n.test("in", list(values)) }

// NotIn holds for a value that is there and equals none of these.
func (n Name) NotIn(values ...any) Filter { return n.test("nin", list(values)) }

// Prefix holds for a text that begins so.
func (n Name) Prefix(text string) Filter { return n.test("prefix", text) }

// Has holds for an array of which an element equals this value.
func (n Name) Has(value any) Filter { return n.test("has", value) }

// Exists holds where there is a value.
func (n Name) Exists() Filter { return n.test("exists", true) }

// Missing holds where there is none.
func (n Name) Missing() Filter { return n.test("exists", false) }

func list(values []any) []any {
	if values == nil {
		return []any{}
	}
	return values
}

// All holds where all of the filters do; without any, always.
func All(filters ...Filter) Filter { return joined("and", filters) }

// Any holds where one of the filters does; without any, never.
func Any(filters ...Filter) Filter { return joined("or", filters) }

// Not holds where the filter doesn't.
func Not(filter Filter) Filter { return Filter{map[string]any{"not": filter}} }

func joined(operator string, filters []Filter) Filter {
	if len(filters) == 1 {
		return filters[0]
	}
	if filters == nil {
		filters = []Filter{}
	}
	return Filter{map[string]any{operator: filters}}
}

// And is All of this filter and others.
func (f Filter) And(others ...Filter) Filter { return All(append([]Filter{f}, others...)...) }

// Or is Any of this filter and others.
func (f Filter) Or(others ...Filter) Filter { return Any(append([]Filter{f}, others...)...) }
