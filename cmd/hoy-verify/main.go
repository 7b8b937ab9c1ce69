// Command hoy-verify verifies the signatures of one image. It reads a signature.Request
// from its standard input and writes a signature.Answer; the engine starts it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"hoy/signature"
	"hoy/signature/verify"
)

func main() {
	var q signature.Request
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		fmt.Fprintln(os.Stderr, "hoy-verify: the engine starts it with a request on standard input:", err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(verify.Image(q)); err != nil {
		fmt.Fprintln(os.Stderr, "hoy-verify:", err)
		os.Exit(1)
	}
}
