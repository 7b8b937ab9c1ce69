package seccomp

import "github.com/opencontainers/runtime-spec/specs-go"

const native = specs.ArchAARCH64
