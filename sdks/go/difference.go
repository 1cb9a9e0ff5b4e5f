package stargus

import (
	"reflect"
	"slices"
	"sort"
	"strings"
)

// How two states of an item differ, and what a merge patch makes of one. Pure; values are as encoding/json reads them.

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case string:
		y, ok := b.(string)
		return ok && x == y
	case float64:
		y, ok := b.(float64)
		return ok && x == y
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case nil:
		return b == nil
	}
	return reflect.DeepEqual(a, b)
}

func sameAttributes(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		other, ok := b[name]
		if !ok || !sameValue(value, other) {
			return false
		}
	}
	return true
}

// namesChanged answers the names that are different in after, in the order of their bytes, and those of them that it lacks.
func namesChanged(before, after map[string]any) (changed, removed []string) {
	for name, value := range after {
		if other, ok := before[name]; !ok || !sameValue(value, other) {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			changed = append(changed, name)
			removed = append(removed, name)
		}
	}
	sort.Strings(changed)
	sort.Strings(removed)
	return changed, removed
}

// differenceOf tells the change from one item to another, either of which may be nil; false where it shows in nothing.
func differenceOf(before, after *Item, reason string, revision int64) (Change, bool) {
	change := Change{Item: after, Previous: before, Reason: reason, Revision: revision}
	switch {
	case before == nil && after == nil:
		return change, false
	case before == nil:
		change.Op, change.Key = OpAdd, after.Key
		change.Changed, _ = namesChanged(nil, after.Attributes)
	case after == nil:
		change.Op, change.Key = OpDelete, before.Key
		change.Changed, change.Removed = namesChanged(before.Attributes, nil)
	default:
		change.Op, change.Key = OpChange, after.Key
		change.Changed, change.Removed = namesChanged(before.Attributes, after.Attributes)
		if len(change.Changed) == 0 {
			return change, false
		}
	}
	return change, true
}

// mergePatch applies a merge patch (RFC 7396) and leaves both arguments as they are.
func mergePatch(target, patch map[string]any) map[string]any {
	merged := make(map[string]any, len(target)+len(patch))
	for name, value := range target {
		merged[name] = value
	}
	for name, value := range patch {
		switch part := value.(type) {
		case nil:
			delete(merged, name)
		case map[string]any:
			inner, _ := merged[name].(map[string]any)
			merged[name] = mergePatch(inner, part)
		default:
			merged[name] = value
		}
	}
	return merged
}

// withoutNull is what a put leaves: a null at the top means absent.
func withoutNull(attributes map[string]any) map[string]any {
	for _, value := range attributes {
		if value == nil {
			return withValues(attributes)
		}
	}
	return attributes
}

func withValues(attributes map[string]any) map[string]any {
	picked := make(map[string]any, len(attributes))
	for name, value := range attributes {
		if value != nil {
			picked[name] = value
		}
	}
	return picked
}

// project keeps what fields name: an attribute, or the way to a value where one begins with a slash.
func project(attributes map[string]any, fields []string) map[string]any {
	if len(fields) == 0 {
		return attributes
	}
	shown := map[string]any{}
	for name, value := range attributes {
		if slices.Contains(fields, name) {
			shown[name] = value
		}
	}
	return shown
}

func sortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
}
