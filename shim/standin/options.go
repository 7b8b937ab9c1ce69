package standin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	runc "github.com/containerd/containerd/api/types/runc/options"
	generic "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"hoy/shim"
)

// options makes the message of a shim's options: runc's shim has a type of its own, all
// others are given the general one, as by dockerd. nil: there are none.
func options(t *shim.Task) (*anypb.Any, error) {
	if len(t.Options) == 0 {
		return nil, nil
	}
	var m proto.Message = &generic.Options{}
	if t.Type == "io.containerd.runc.v2" {
		m = &runc.Options{}
	}
	values := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(t.Options)) {
		f := field(m, key)
		if f == nil {
			return nil, fmt.Errorf("the runtime has no option %s", key)
		}
		values[f.JSONName()] = t.Options[key]
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("cannot understand the runtime's options: %w", err)
	}
	data, err = proto.Marshal(m)
	// Without the prefix of protobuf's own URLs: so does containerd's typeurl name it.
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: data}, err
}

// field finds an option by its name as Go's field, which is how daemon.json has it.
func field(m proto.Message, key string) protoreflect.FieldDescriptor {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); plain(string(f.Name())) == plain(key) {
			return f
		}
	}
	return nil
}
