package server

import (
	"bytes"
	"encoding/json"
	"maps"
)

// extended is a value with fields that older versions show besides: where both have
// an object, that is extended in turn, otherwise what value has stays.
type extended struct {
	value any
	extra map[string]any
}

// MarshalJSON implements json.Marshaler.
func (e extended) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(e.value)
	if err != nil {
		return nil, err
	}
	own := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&own); err != nil {
		return nil, err
	}
	return json.Marshal(extend(own, e.extra))
}

func extend(own, extra map[string]any) map[string]any {
	all := maps.Clone(extra)
	for k, v := range own {
		more, extends := extra[k].(map[string]any)
		if object, is := v.(map[string]any); is && extends {
			v = extend(object, more)
		}
		all[k] = v
	}
	return all
}
