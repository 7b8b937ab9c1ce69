package extract

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"hoy/lib/fault"
)

func xzOf(t *testing.T, c xz.WriterConfig, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unxz(b []byte) ([]byte, error) {
	plain, _, err := Decompress(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return io.ReadAll(plain)
}

func xzContent() []byte {
	b := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.IntN(1 + i*255/len(b)))
	}
	return b
}

func TestXz(t *testing.T) {
	content := xzContent()
	for name, c := range map[string]xz.WriterConfig{
		"CRC-64": {}, "CRC-32": {CheckSum: xz.CRC32}, "SHA-256": {CheckSum: xz.SHA256}, "none": {NoCheckSum: true}, "several blocks": {BlockSize: 70_000},
	} {
		t.Run(name, func(t *testing.T) {
			one := xzOf(t, c, content)
			if got, err := unxz(one); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			// Streams one after the other, with zeros between and at the end.
			two := append(append(append(bytes.Clone(one), 0, 0, 0, 0), xzOf(t, c, nil)...), one...)
			if got, err := unxz(append(two, 0, 0, 0, 0, 0, 0, 0, 0)); err != nil || !bytes.Equal(got, append(bytes.Clone(content), content...)) {
				t.Fatalf("several streams: %d bytes, %v", len(got), err)
			}
			for _, n := range []int{7, 12, 13, 40, len(one) / 2, len(one) - 30, len(one) - 12, len(one) - 1} {
				if _, err := unxz(one[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("cut after %d of %d bytes: %v", n, len(one), err)
				}
			}
			if _, err := unxz(append(bytes.Clone(one), "something else"...)); fault.KindOf(err) != fault.Invalid {
				t.Errorf("something else behind it: %v", err)
			}
		})
	}
}

// TestXzDamaged changes each byte of a short stream behind its magic: what is read is right or an error is.
func TestXzDamaged(t *testing.T) {
	content := []byte(strings.Repeat("content ", 20))
	whole := xzOf(t, xz.WriterConfig{}, content)
	for i := 6; i < len(whole); i++ {
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		if got, err := unxz(b); err == nil && !bytes.Equal(got, content) {
			t.Errorf("byte %d changed: %q", i, got)
		}
	}
}

// TestXzDictionary is a stream of a few bytes that asks for 4 GiB of memory.
func TestXzDictionary(t *testing.T) {
	b := xzOf(t, xz.WriterConfig{}, []byte("content"))
	header := b[12:][:(int(b[12])+1)*4]
	at := bytes.Index(header, []byte{0x21, 1})
	for code, want := range map[byte]bool{30: true, 31: false, 40: false} { // 128 MiB, 192 MiB, 4 GiB - 1
		header[at+2] = code
		binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))
		got, err := unxz(b)
		if want && (err != nil || string(got) != "content") {
			t.Errorf("dictionary %d: %q, %v", code, got, err)
		}
		if !want && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "dictionary")) {
			t.Errorf("dictionary %d: %v", code, err)
		}
	}
}
