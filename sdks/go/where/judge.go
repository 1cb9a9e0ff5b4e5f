package where

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Judge answers whether items match a filter, by the rules of the server (docs/API.md, Filters).
type Judge struct {
	holds func(*subject) bool
}

type subject struct {
	key        string
	revision   int64
	attributes map[string]any
}

// Matches judges an item whose attributes are as encoding/json reads them.
func (j *Judge) Matches(key string, revision int64, attributes map[string]any) bool {
	return j.holds(&subject{key, revision, attributes})
}

// Parse makes a judge of a filter: a Filter, or anything whose JSON is one. It refuses what it doesn't know; whether the server
// takes a filter, only the server says.
func Parse(filter any) (*Judge, error) {
	text, err := json.Marshal(filter)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, errors.New("a filter is a JSON object")
	}
	holds, err := parse(members, 0)
	if err != nil {
		return nil, err
	}
	return &Judge{holds}, nil
}

type test = func(*subject) bool

// depthMax is the server's.
const depthMax = 8

func parse(value any, depth int) (test, error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("a filter is a JSON object")
	}
	if depth > depthMax {
		return nil, fmt.Errorf("a filter nests at most %d levels", depthMax)
	}
	parts := make([]test, 0, len(members))
	for name, operand := range members {
		part, err := member(name, operand, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		parts = append(parts, part)
	}
	return every(parts), nil
}

func every(parts []test) test {
	if len(parts) == 1 {
		return parts[0]
	}
	return func(s *subject) bool {
		for _, part := range parts {
			if !part(s) {
				return false
			}
		}
		return true
	}
}

func member(name string, operand any, depth int) (test, error) {
	switch name {
	case "and", "or":
		branches, ok := operand.([]any)
		if !ok {
			return nil, errors.New("is an array of filters")
		}
		parts := make([]test, len(branches))
		for i, branch := range branches {
			part, err := parse(branch, depth+1)
			if err != nil {
				return nil, err
			}
			parts[i] = part
		}
		if name == "and" {
			return every(parts), nil
		}
		return func(s *subject) bool {
			for _, part := range parts {
				if part(s) {
					return true
				}
			}
			return false
		}, nil
	case "not":
		part, err := parse(operand, depth+1)
		if err != nil {
			return nil, err
		}
		return func(s *subject) bool { return !part(s) }, nil
	}
	read, err := reading(name)
	if err != nil {
		return nil, err
	}
	switch given := operand.(type) {
	case []any:
		return nil, errors.New("is a value or an object of operators")
	case map[string]any:
		if len(given) == 0 {
			return nil, errors.New("names no operator")
		}
		parts := make([]test, 0, len(given))
		for operator, value := range given {
			part, err := operatorTest(read, operator, value)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		}
		return every(parts), nil
	}
	return operatorTest(read, "eq", operand)
}

type reader = func(*subject) (any, bool)

func reading(name string) (reader, error) {
	switch {
	case name == "/@key":
		return func(s *subject) (any, bool) { return s.key, true }, nil
	case name == "/@revision":
		return func(s *subject) (any, bool) { return float64(s.revision), true }, nil
	case !strings.HasPrefix(name, "/"):
		return func(s *subject) (any, bool) { return attribute(s.attributes, name) }, nil
	}
	tokens := strings.Split(name[1:], "/")
	for i, token := range tokens {
		for at := strings.IndexByte(token, '~'); at >= 0; {
			if at+1 >= len(token) || token[at+1] != '0' && token[at+1] != '1' {
				return nil, errors.New("is no JSON Pointer")
			}
			next := strings.IndexByte(token[at+1:], '~')
			if next < 0 {
				break
			}
			at += 1 + next
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return func(s *subject) (any, bool) {
		value, ok := attribute(s.attributes, tokens[0])
		for _, token := range tokens[1:] {
			if !ok {
				break
			}
			value, ok = step(value, token)
		}
		return value, ok
	}, nil
}

// attribute is one of the top, where null means absent.
func attribute(attributes map[string]any, name string) (any, bool) {
	value, ok := attributes[name]
	return value, ok && value != nil
}

func step(value any, token string) (any, bool) {
	switch inner := value.(type) {
	case map[string]any:
		next, ok := inner[token]
		return next, ok
	case []any:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(inner) || strconv.Itoa(i) != token {
			return nil, false
		}
		return inner[i], true
	}
	return nil, false
}

func operatorTest(read reader, operator string, operand any) (test, error) {
	if operator == "exists" {
		wanted, ok := operand.(bool)
		if !ok {
			return nil, errors.New("exists is true or false")
		}
		return func(s *subject) bool { _, is := read(s); return is == wanted }, nil
	}
	holds, err := valueTest(operator, operand)
	if err != nil {
		return nil, err
	}
	return func(s *subject) bool {
		value, is := read(s)
		return is && holds(value)
	}, nil
}

func valueTest(operator string, operand any) (func(any) bool, error) {
	switch operator {
	case "eq":
		return func(v any) bool { return Compare(v, operand) == 0 }, nil
	case "ne":
		return func(v any) bool { return Compare(v, operand) != 0 }, nil
	case "lt", "lte", "gt", "gte":
		if operand == nil {
			return nil, errors.New("nothing comes before or after null")
		}
		wanted := map[string]func(int) bool{
			"lt": func(o int) bool { return o < 0 }, "lte": func(o int) bool { return o <= 0 },
			"gt": func(o int) bool { return o > 0 }, "gte": func(o int) bool { return o >= 0 },
		}[operator]
		return func(v any) bool { return sameType(v, operand) && wanted(Compare(v, operand)) }, nil
	case "in", "nin":
		values, ok := operand.([]any)
		if !ok {
			return nil, errors.New(operator + " is an array")
		}
		return func(v any) bool { return contains(values, v) == (operator == "in") }, nil
	case "has":
		return func(v any) bool {
			values, ok := v.([]any)
			return ok && contains(values, operand)
		}, nil
	case "prefix":
		prefix, ok := operand.(string)
		if !ok {
			return nil, errors.New("prefix is a string")
		}
		return func(v any) bool {
			text, ok := v.(string)
			return ok && strings.HasPrefix(text, prefix)
		}, nil
	}
	return nil, fmt.Errorf("%q is no operator that this library knows", operator)
}

func contains(values []any, value any) bool {
	for _, one := range values {
		if Compare(one, value) == 0 {
			return true
		}
	}
	return false
}

// rank of a type in the order of types. True and false are of one type, though not of one rank.
func rank(value any) int {
	switch value.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case float64:
		return 2
	case string:
		return 3
	case []any:
		return 4
	}
	return 5
}

func sameType(a, b any) bool { return rank(a) == rank(b) }

// Compare is the API's order of JSON values: null, false, true, numbers, strings by their bytes, arrays, objects. Negative,
// zero or positive. Values are as encoding/json reads them.
func Compare(a, b any) int {
	if difference := rank(a) - rank(b); difference != 0 {
		return difference
	}
	switch x := a.(type) {
	case bool:
		y := b.(bool)
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	case float64:
		y := b.(float64)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	case string:
		return strings.Compare(x, b.(string))
	case []any:
		y := b.([]any)
		for i := 0; i < len(x) && i < len(y); i++ {
			if order := Compare(x[i], y[i]); order != 0 {
				return order
			}
		}
		return len(x) - len(y)
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return compareUnknown(a, b)
		}
		return compareObjects(x, y)
	case nil:
		return 0
	}
	return compareUnknown(a, b)
}

// compareUnknown is for values that encoding/json wouldn't have read: it compares what it would write.
func compareUnknown(a, b any) int {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Compare(x, y)
}

func compareObjects(x, y map[string]any) int {
	xs, ys := names(x), names(y)
	for i := 0; i < len(xs) && i < len(ys); i++ {
		if order := strings.Compare(xs[i], ys[i]); order != 0 {
			return order
		}
		if order := Compare(x[xs[i]], y[ys[i]]); order != 0 {
			return order
		}
	}
	return len(xs) - len(ys)
}

func names(object map[string]any) []string {
	list := make([]string, 0, len(object))
	for name := range object {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}
