package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// schema is the form of what is in the file. A file with a newer one is left alone.
const schema = 1

// The buckets.
var (
	bucketMeta      = []byte("meta")
	bucketEndpoints = []byte("endpoints")    // id → record
	bucketLists     = []byte("crls")         // id → revocation list, PEM
	bucketTokens    = []byte("tokens")       // tokenKey → token
	bucketCerts     = []byte("certificates") // ARN → imported
	bucketProviders = []byte("saml")         // ARN → provider
	keySchema       = []byte("schema")
)

// openTimeout is how long another process may still have the file.
const openTimeout = 2 * time.Second

// store is the file of a Model. One goroutine at a time.
type store struct {
	db   *bolt.DB
	file string
}

// openStore opens the file, or makes it.
func openStore(file string) (s *store, err error) {
	defer damaged(file, &err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: openTimeout, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%s: another process has the API's state open", file)
	case err != nil:
		return nil, fmt.Errorf("%s: the API's state cannot be read: %w", file, err)
	}
	s = &store{db: db, file: file}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// damaged turns bbolt's answer to a file that is damaged, a panic, into an error. Deferred, by who reads a file at the start;
// with SetPanicOnFault, so that a file that is shorter than it says is one, too.
func damaged(file string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s is damaged (%v): move it away, and make the endpoints again", file, r)
	}
}

func (s *store) close() error { return s.db.Close() }

// prepare makes an empty file ours, and refuses one of a later version.
func (s *store) prepare() error {
	var there int
	err := s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		if b == nil {
			return nil
		}
		if err := json.Unmarshal(b.Get(keySchema), &there); err != nil || there < 1 {
			return fmt.Errorf("%s: not the API's state", s.file)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case there > schema:
		return fmt.Errorf("%s was written by a later version of adit-endpoint (schema %d; this one knows %d): use that one, or another data directory", s.file, there, schema)
	}
	// Buckets are made also in a file that is ours already: an earlier version may not have known them all.
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketEndpoints, bucketLists, bucketTokens, bucketCerts, bucketProviders} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, fmt.Append(nil, schema))
	})
}

// load reads everything but revocation lists.
func (s *store) load() (records map[string]*record, tokens map[string]token, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer damaged(s.file, &err)
	records, tokens = map[string]*record{}, map[string]token{}
	err = s.db.View(func(tx *bolt.Tx) error {
		err := tx.Bucket(bucketEndpoints).ForEach(func(k, v []byte) error {
			r, err := parseRecord(v)
			if err != nil || r.ID != string(k) {
				return fmt.Errorf("%s: endpoint %q cannot be read: %w", s.file, k, errors.Join(err, errNoRecord))
			}
			records[r.ID] = r
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketTokens).ForEach(func(k, v []byte) error {
			var t token
			if err := json.Unmarshal(v, &t); err != nil {
				return fmt.Errorf("%s: client token %q cannot be read: %w", s.file, k, err)
			}
			tokens[string(k)] = t
			return nil
		})
	})
	return records, tokens, err
}

// certificates are those that were imported, in the order of their ARNs.
func (s *store) certificates() (list []*imported, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer damaged(s.file, &err)
	err = s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketCerts).ForEach(func(k, v []byte) error {
			c := &imported{}
			if err := json.Unmarshal(v, c); err != nil || c.ARN != string(k) || c.Text == "" || c.Key == "" {
				return fmt.Errorf("%s: certificate %q cannot be read", s.file, k)
			}
			list = append(list, c)
			return nil
		})
	})
	return list, err
}

// putCertificate keeps a certificate. It is on disk when it returns, as with commit.
func (s *store) putCertificate(c *imported) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketCerts).Put([]byte(c.ARN), text) })
}

func (s *store) dropCertificate(arn string) error {
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketCerts).Delete([]byte(arn)) })
}

// providers are the SAML providers that were created, in the order of their ARNs.
func (s *store) providers() (list []*provider, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer damaged(s.file, &err)
	err = s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketProviders).ForEach(func(k, v []byte) error {
			p := &provider{}
			err := json.Unmarshal(v, p)
			if err == nil {
				err = p.valid(string(k))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.file, err)
			}
			list = append(list, p)
			return nil
		})
	})
	return list, err
}

// putProvider keeps a SAML provider. It is on disk when it returns, as with commit.
func (s *store) putProvider(p *provider) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketProviders).Put([]byte(p.ARN), text) })
}

func (s *store) dropProvider(arn string) error {
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketProviders).Delete([]byte(arn)) })
}

// list is the revocation list of an endpoint; empty: none.
func (s *store) list(id string) (text string, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		text = string(tx.Bucket(bucketLists).Get([]byte(id)))
		return nil
	})
	return text, err
}

// commit is all that one mutation changes in the file.
type commit struct {
	records    []*record
	crlOf, crl string   // revocation list of an endpoint; crlOf empty: none
	gone       []string // endpoints
	tokenKey   string
	token      *token   // nil: none
	stale      []string // token keys
}

// commit writes all of it, or nothing. It is on disk when it returns.
func (s *store) commit(c commit) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		endpoints, lists, tokens := tx.Bucket(bucketEndpoints), tx.Bucket(bucketLists), tx.Bucket(bucketTokens)
		for _, id := range c.gone {
			if err := errors.Join(endpoints.Delete([]byte(id)), lists.Delete([]byte(id))); err != nil {
				return err
			}
		}
		for _, r := range c.records {
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := endpoints.Put([]byte(r.ID), text); err != nil {
				return err
			}
		}
		if c.crlOf != "" {
			if err := lists.Put([]byte(c.crlOf), []byte(c.crl)); err != nil {
				return err
			}
		}
		for _, key := range c.stale {
			if err := tokens.Delete([]byte(key)); err != nil {
				return err
			}
		}
		if c.token == nil {
			return nil
		}
		text, err := json.Marshal(c.token)
		if err != nil {
			return err
		}
		return tokens.Put([]byte(c.tokenKey), text)
	})
}

// token is what a client token has brought.
type token struct {
	Sum    string // of the parameters
	Answer string
	Made   time.Time
}

// tokenLife is how long a repeated client token is known. EC2 says 24 hours and more.
const tokenLife = 24 * time.Hour

const (
	maxToken  = 64   // characters of a client token (EC2)
	maxTokens = 5000 // that are remembered; the oldest is forgotten for one more
)

func tokenKey(action, clientToken string) string { return action + " " + clientToken }

// tokenSum stands for parameters: equal ones have the same.
func tokenSum(params any) string {
	text, err := json.Marshal(params)
	if err != nil {
		panic(err) // plain values
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
