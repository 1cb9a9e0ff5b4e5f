package where

import (
	"encoding/json"
	"testing"
)

func TestNamesAreQuoted(t *testing.T) {
	for want, filter := range map[string]Filter{
		`{}`:                                {},
		`{"status":{"eq":"<open>"}}`:        Field("status").Eq("<open>"),
		`{"/or":{"eq":1}}`:                  Field("or").Eq(1),
		`{"/~1a~0":{"exists":false}}`:       Field("/a~").Missing(),
		`{"/address/city":{"in":["Oslo"]}}`: Path("address", "city").In("Oslo"),
		`{"/@key":{"prefix":"a/"}}`:         Key().Prefix("a/"),
		`{"@key":{"eq":1}}`:                 Field("@key").Eq(1),
		`{"or":[]}`:                         Any(),
		`{"and":[{"a":{"gt":1}},{"not":{"b":{"has":2}}}]}`: Field("a").Gt(1).And(Not(Field("b").Has(2))),
	} {
		if filter.String() != want {
			t.Errorf("%s, not %s", filter, want)
		}
	}
}

func TestJudging(t *testing.T) {
	item := `{"status":"open","n":3,"tags":["a",{"b":null}],"address":{"city":"Oslo","x":null},"no":false,"or":1}`
	for _, c := range []struct {
		filter string
		want   bool
	}{
		{`{}`, true}, {`{"status":"open"}`, true}, {`{"status":{"ne":"open"}}`, false}, {`{"gone":{"ne":1}}`, false},
		{`{"not":{"gone":1}}`, true}, {`{"n":{"gte":3,"lt":4}}`, true}, {`{"n":{"gt":"2"}}`, false}, {`{"n":{"in":[1,3]}}`, true},
		{`{"n":{"nin":[1,3]}}`, false}, {`{"n":{"nin":["3"]}}`, true}, {`{"status":{"prefix":"op"}}`, true}, {`{"n":{"prefix":"3"}}`, false},
		{`{"tags":{"has":{"b":null}}}`, true}, {`{"/tags/1/b":null}`, true}, {`{"/tags/01":{"exists":true}}`, false},
		{`{"/address/city":"Oslo"}`, true}, {`{"/address/x":{"exists":true}}`, true}, {`{"gone":{"exists":false}}`, true},
		{`{"or":[]}`, false}, {`{"and":[]}`, true}, {`{"or":[{"n":1},{"n":3}]}`, true}, {`{"/or":1}`, true},
		{`{"/@key":{"prefix":"k"}}`, true}, {`{"/@revision":{"gte":7}}`, true}, {`{"no":{"lt":true}}`, true},
		{`{"address":{"eq":{"x":null,"city":"Oslo"}}}`, true}, {`{"tags":{"gt":["a"]}}`, true}, {`{"n":{"lte":3,"ne":3}}`, false},
	} {
		judge, err := Parse(json.RawMessage(c.filter))
		if err != nil {
			t.Errorf("%s: %v", c.filter, err)
			continue
		}
		var attributes map[string]any
		json.Unmarshal([]byte(item), &attributes)
		if judge.Matches("k1", 7, attributes) != c.want {
			t.Errorf("%s is %v", c.filter, !c.want)
		}
	}
	for _, filter := range []string{`{"a":{"near":1}}`, `{"a":[1]}`, `{"a":{}}`, `{"and":{}}`, `{"not":1}`, `{"/a~x":1}`, `[]`, `{"a":{"gt":null}}`, `{"a":{"exists":1}}`} {
		if _, err := Parse(json.RawMessage(filter)); err == nil {
			t.Errorf("%s is understood", filter)
		}
	}
}
