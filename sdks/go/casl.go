package stargus

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/stargus/stargus/sdks/go/where"
)

// The rules of GET P/policy/effective, judged here: a hint whether an optimistic write is worth showing. What isn't known
// counts as not allowed: a condition that can't be judged is none that allows, and one that denies. Pure.

type caslRule struct {
	Action     []string       `json:"action"`
	Subject    []string       `json:"subject"`
	Fields     []string       `json:"fields"`
	Conditions map[string]any `json:"conditions"`
	Inverted   bool           `json:"inverted"`
}

type policyRules struct {
	Rules        []caslRule   `json:"rules"`
	Restrictions [][]caslRule `json:"restrictions"`
}

func parsePolicyRules(text []byte) (*policyRules, error) {
	var rules policyRules
	if err := json.Unmarshal(text, &rules); err != nil {
		return nil, err
	}
	return &rules, nil
}

// allows asks of an item (its key among the attributes as @key) and one of its attributes, "" for the item as a whole.
func (p *policyRules) allows(action, collection, key string, attributes map[string]any, field string) bool {
	if !layerAllows(p.Rules, action, collection, key, attributes, field) {
		return false
	}
	for _, layer := range p.Restrictions {
		if !layerAllows(layer, action, collection, key, attributes, field) {
			return false
		}
	}
	return true
}

// layerAllows: the last rule that is about what is asked decides.
func layerAllows(rules []caslRule, action, collection, key string, attributes map[string]any, field string) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		rule := &rules[i]
		if !names(rule.Action, action, "manage") || !names(rule.Subject, collection, "all") {
			continue
		}
		if len(rule.Fields) > 0 && (field != "" && !names(rule.Fields, field, "") || field == "" && rule.Inverted) {
			continue
		}
		switch verdict := judgeConditions(rule.Conditions, key, attributes); {
		case rule.Inverted && verdict != no:
			return false
		case !rule.Inverted && verdict == yes:
			return true
		}
	}
	return false
}

func names(list []string, name, every string) bool {
	for _, one := range list {
		if one == name || every != "" && one == every {
			return true
		}
	}
	return false
}

type verdict int

const (
	no verdict = iota
	yes
	unknown
)

func judgeConditions(conditions map[string]any, key string, attributes map[string]any) verdict {
	result := yes
	for path, wanted := range conditions {
		var value any
		var is bool
		switch {
		case path == "@key":
			value, is = key, true
		case strings.HasPrefix(path, "@"):
			return unknown
		default:
			value, is = valueAt(attributes, path)
		}
		switch judgeValue(value, is, wanted) {
		case no:
			return no
		case unknown:
			result = unknown
		}
	}
	return result
}

func valueAt(attributes map[string]any, path string) (any, bool) {
	var value any = attributes
	for _, token := range strings.Split(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[token]; !ok {
			return nil, false
		}
	}
	return value, true
}

func judgeValue(value any, is bool, wanted any) verdict {
	operators, ok := wanted.(map[string]any)
	if !ok {
		operators = map[string]any{"$eq": wanted}
	}
	result := yes
	for operator, operand := range operators {
		switch judgeOperator(value, is, operator, operand) {
		case no:
			return no
		case unknown:
			result = unknown
		}
	}
	return result
}

func judgeOperator(value any, is bool, operator string, operand any) verdict {
	// Queries look into arrays where filters compare them whole.
	if _, isArray := value.([]any); isArray && operator != "$exists" && operator != "$all" {
		return unknown
	}
	switch operator {
	case "$exists":
		wanted, ok := operand.(bool)
		return of(ok && is == wanted)
	case "$eq":
		return of(is && where.Compare(value, operand) == 0)
	case "$ne":
		return of(!is || where.Compare(value, operand) != 0)
	case "$in", "$nin":
		values, ok := operand.([]any)
		if !ok {
			return unknown
		}
		found := false
		for _, one := range values {
			found = found || is && where.Compare(value, one) == 0
		}
		return of(found == (operator == "$in"))
	case "$lt", "$lte", "$gt", "$gte":
		if !is || !comparable(value, operand) {
			return no
		}
		order := where.Compare(value, operand)
		return of(operator == "$lt" && order < 0 || operator == "$lte" && order <= 0 ||
			operator == "$gt" && order > 0 || operator == "$gte" && order >= 0)
	case "$all":
		wanted, ok := operand.([]any)
		list, isArray := value.([]any)
		if !ok {
			return unknown
		}
		if !isArray {
			return no
		}
		for _, one := range wanted {
			found := false
			for _, element := range list {
				found = found || where.Compare(element, one) == 0
			}
			if !found {
				return no
			}
		}
		return yes
	case "$regex":
		text, ok := operand.(string)
		given, isText := value.(string)
		if !ok {
			return unknown
		}
		if !isText {
			return no
		}
		// Those of the server are beginnings, quoted as JavaScript does, which is understood alike here but for the slash.
		expression, err := regexp.Compile(strings.ReplaceAll(text, `\/`, `/`))
		if err != nil {
			return unknown
		}
		return of(expression.MatchString(given))
	}
	return unknown
}

func comparable(a, b any) bool {
	switch a.(type) {
	case float64:
		_, ok := b.(float64)
		return ok
	case string:
		_, ok := b.(string)
		return ok
	}
	return false
}

func of(holds bool) verdict {
	if holds {
		return yes
	}
	return no
}
