package client

import (
	"encoding"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// TestSparse: what the engine reads is the same as with encoding/json, whatever is set.
func TestSparse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	set := 0
	for range 300 {
		var in container.CreateRequest
		set += fill(t, r, reflect.ValueOf(&in).Elem(), 0)
		if in.Config == nil {
			in.Config = &container.Config{}
		}
		in.Image = "x" // always given; without anything of Config there is none to the engine
		b, err := sparse(in)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var got, want container.CreateRequest
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if err := json.Unmarshal(whole, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("sparse %s\n reads otherwise than\n%s", b, whole)
		}
	}
	if set < 10000 {
		t.Errorf("only %d values were set in 300 requests", set)
	}
}

func TestSparseIsShort(t *testing.T) {
	b, err := sparse(container.CreateRequest{Config: &container.Config{Image: "x", Env: []string{}}, HostConfig: &container.HostConfig{AutoRemove: true}})
	if want := `{"Env":[],"Image":"x","HostConfig":{"AutoRemove":true}}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
	var odd struct {
		N int `json:",string"`
	}
	odd.N = 1
	if b, err := sparse(odd); err == nil {
		t.Errorf("%s: an option of encoding/json that sparse does not have", b)
	}
}

// fill sets about half of what can be set, and returns how many values that were.
func fill(t *testing.T, r *rand.Rand, v reflect.Value, depth int) (n int) {
	if !v.CanSet() || r.IntN(2) == 0 && depth > 1 {
		return 0
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		for _, sample := range []string{"10.0.0.1", "80/tcp", "10.0.0.0/8", "02:42:00:00:00:01", "2030-01-01T00:00:00Z"} {
			if text.UnmarshalText([]byte(sample)) == nil {
				return 1
			}
		}
		t.Fatalf("no sample of %s", v.Type())
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString([]string{"x", `"<&`, "é"}[r.IntN(3)])
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(100) - 5)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64N(100))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		n = fill(t, r, v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			n += fill(t, r, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			n += fill(t, r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			n += fill(t, r, key, 0) + fill(t, r, value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += fill(t, r, v.Field(i), depth+1)
		}
	}
	return n + 1
}
