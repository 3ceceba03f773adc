package main

import (
	"archive/zip"
	"compress/flate"
	"io"
	"os"
	"path"
	"time"
)

// writeZip packs the files into a folder "adit".
func writeZip(out string, files []file, at time.Time) (err error) {
	to, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := to.Close(); err == nil {
			err = e
		}
	}()
	z := zip.NewWriter(to)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, f := range files {
		h := &zip.FileHeader{Name: "adit/" + path.Join(f.folder, f.name), Method: zip.Deflate, Modified: at}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		from, err := os.Open(f.source)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, from)
		from.Close()
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // payload has looked: the cabinet's builder will say what has happened since
	}
	return info.Size()
}
