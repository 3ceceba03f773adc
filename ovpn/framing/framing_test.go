package framing

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestPacketsSurviveAnyCut(t *testing.T) {
	var stream []byte
	var want [][]byte
	for i := range 400 {
		p := bytes.Repeat([]byte{byte(i)}, 1+i*37%3000)
		want = append(want, p)
		stream = Append(stream, p)
	}
	want = append(want, bytes.Repeat([]byte{9}, MaxPacket))
	stream = Append(stream, want[len(want)-1])
	for name, r := range map[string]io.Reader{
		"whole":    bytes.NewReader(stream),
		"halves":   iotest.HalfReader(bytes.NewReader(stream)),
		"one byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		rd, i := NewReader(r), 0
		for {
			batch, err := rd.ReadBatch(make([][]byte, 0, 16))
			for _, p := range batch {
				if !bytes.Equal(p, want[i]) {
					t.Fatalf("%s: packet %d differs", name, i)
				}
				i++
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if i != len(want) {
			t.Errorf("%s: %d packets of %d", name, i, len(want))
		}
	}
}

func TestBrokenStream(t *testing.T) {
	if _, err := NewReader(bytes.NewReader([]byte{0, 0, 1})).ReadBatch(make([][]byte, 0, 1)); !errors.Is(err, ErrEmpty) {
		t.Errorf("zero length: %v", err)
	}
	if _, err := NewReader(bytes.NewReader([]byte{0, 9, 1})).ReadBatch(make([][]byte, 0, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut packet: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 7, 0, 2, 8, 9})
	f.Fuzz(func(t *testing.T, stream []byte) {
		rd, total := NewReader(bytes.NewReader(stream)), 0
		for {
			batch, err := rd.ReadBatch(make([][]byte, 0, 4))
			for _, p := range batch {
				total += HeaderSize + len(p)
			}
			if err != nil {
				break
			}
		}
		if total > len(stream) {
			t.Fatalf("%d bytes out of %d", total, len(stream))
		}
	})
}

func TestWhole(t *testing.T) {
	b := Append(Append(Append(nil, make([]byte, 100)), make([]byte, 200)), make([]byte, 300))
	for most, want := range map[int]int{0: 102, 1: 102, 102: 102, 303: 102, 304: 304, 605: 304, 606: 606, 1 << 20: 606} {
		if n := Whole(b, most); n != want {
			t.Errorf("most %d: %d bytes, want %d", most, n, want)
		}
	}
	if n := Whole(nil, 100); n != 0 {
		t.Errorf("nothing: %d", n)
	}
	if n := Whole(b[:150], 1000); n != 102 {
		t.Errorf("a packet that is not whole: %d", n)
	}
}
