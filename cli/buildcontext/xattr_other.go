//go:build !linux

package buildcontext

// attributes are none: what a file has here means nothing in an image.
func attributes(string) (map[string][]byte, error) { return nil, nil }
